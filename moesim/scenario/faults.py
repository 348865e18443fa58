"""pydantic's complaints as Faults: said in the user's words, at the user's place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from moesim.errors import Fault, nearest
from moesim.scenario.document import Place, Tree, dotted
from moesim.scenario.locate import locate, steps
from moesim.scenario.sections import members

__all__ = ["LATER", "at", "from_validation", "shown_value"]

# Names that later issues bring: the message then says so instead of calling them unknown.
LATER: dict[str, frozenset[str]] = {
    "on_miss": frozenset({"cpu", "fastest", "zero_copy", "hobbit", "skip"}),
    "selection": frozenset({"cache_prior", "max_rank"}),
    "schedule": frozenset({"deferral", "pre_gated", "multi_batch"}),
    "workload": frozenset({"requests"}),
}

_TOO_SHORT = "the list is too short"

_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true | false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than_equal": ("ge", ">="),
    "greater_than": ("gt", ">"),
    "less_than_equal": ("le", "<="),
    "less_than": ("lt", "<"),
}
_TAGS = ("kind", "discipline")
_HIDDEN = "python"
_ELSEWHERE = ("extends", "hardware", "model")  # keys of a scenario that `Sections` leaves to others


def at(fault: Fault, place: Place) -> Fault:
    """The fault at a place."""
    return fault.located(place.file, place.line, place.col)


def shown_value(value: Any) -> Any:
    """What a message shows as `got`: short scalars as they are, anything large cut."""
    if value is None:
        return "null"
    if isinstance(value, str | int | float) and len(str(value)) <= 60:
        return value
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def from_validation(
    error: ValidationError, tree: Tree, model: type[BaseModel], prefix: tuple[str, ...] = ()
) -> list[Fault]:
    """One located fault per complaint about the data of `tree`, whose own path in the scenario is `prefix`.

    Complaints about other keys of a map are dropped when its `kind` is already wrong: they would judge by a guess.
    """
    made: list[tuple[tuple[str | int, ...], Fault]] = []
    for line in error.errors(include_url=False):
        path, node = _path(tree, line["loc"])
        made.append((path, _fault(dict(line), path, node, tree, model, prefix)))
    spoiled = [path[:-1] for path, _ in made if path and path[-1] in _TAGS]
    items = {path[:-1] for path, _ in made if path and isinstance(path[-1], int)}

    def counts(path: tuple[str | int, ...], fault: Fault) -> bool:
        if fault.message == _TOO_SHORT and path in items:
            return False  # it lacks only the items that are wrong
        return not any(path[: len(s)] == s and path[len(s) :][:1] not in (("kind",), ("discipline",)) for s in spoiled)

    return [fault for path, fault in made if counts(path, fault)]


def _path(tree: Tree, loc: Iterable[int | str]) -> tuple[tuple[str | int, ...], Tree | None]:
    """pydantic's loc without the tags of unions, and the node there (None if it is missing)."""
    path: list[str | int] = []
    node: Tree | None = tree
    for step in loc:
        child = node.get(step) if node is not None else None
        if child is None and node is not None:
            tags = [node.get(tag) for tag in _TAGS] if node.is_map else []
            if any(tag is not None and tag.value == step for tag in tags):
                continue
            if not node.is_map and isinstance(step, str):
                continue  # the label of a union's alternative
        path.append(step)
        node = child
    return tuple(path), node


def _fault(
    line: dict[str, Any],
    path: tuple[str | int, ...],
    node: Tree | None,
    tree: Tree,
    model: type[BaseModel],
    prefix: tuple[str, ...],
) -> Fault:
    kind, context, got = line["type"], line.get("ctx", {}), line.get("input")
    field = dotted((*prefix, *path))
    parent = _nearest_node(tree, path)
    place = node.place if node is not None else parent.place
    if {"got", "allowed"} <= context.keys():
        # moesim's own types say both in full, and models that check several fields name the one that is wrong
        inner = steps(str(context.get("field", "")))
        if inner and node is not None:
            node = locate(node, str(context["field"]))
            place = node.key if node.is_map else node.place
        return at(
            Fault(message=f"got {context['got']}", field=dotted((*prefix, *path, *inner)), allowed=context["allowed"]),
            place,
        )
    match kind:
        case "extra_forbidden":
            known = sorted(_known(model, tree, path[:-1]) | ({*_ELSEWHERE} if not prefix and len(path) == 1 else set()))
            fault = Fault(
                message="unknown key", field=field, allowed=" | ".join(known), nearest=nearest(str(path[-1]), known)
            )
            return at(fault, node.key if node is not None else parent.place)
        case "missing":
            if path and isinstance(path[-1], int):
                fault = Fault(field=dotted((*prefix, *path[:-1])), message=_TOO_SHORT)
            else:
                fault = Fault(message="missing", field=field, allowed=_description(model, tree, path))
            return at(fault, parent.key)
        case "union_tag_invalid" | "literal_error":
            if path and path[-1] in _TAGS:
                field = dotted((*prefix, *path[:-1]))  # as for the kinds that pydantic tells apart itself
            allowed = [
                word for word in _words(context.get("expected_tags") or context.get("expected", "")) if word != _HIDDEN
            ]
            word = context.get("tag", got)
            tag = node.get(str(context.get("discriminator", "")).strip("'")) if node is not None else None
            later = word in LATER.get(dotted(path[:1]), frozenset()) if isinstance(word, str) else False
            return at(
                Fault(
                    message=_later(path, later),
                    field=field,
                    got=shown_value(word),
                    allowed=" | ".join(allowed),
                    nearest=nearest(word, allowed) if isinstance(word, str) and not later else "",
                ),
                tag.place if tag is not None else place,
            )
        case "union_tag_not_found":
            tag_name = str(context.get("discriminator", "")).strip("'")
            allowed = _kinds(model, tree, path, tag_name)
            if isinstance(got, dict):
                return at(
                    Fault(message="missing", field=f"{field}.{tag_name}", allowed=" | ".join(allowed)), parent.key
                )
            return at(Fault(field=field, got=shown_value(got), allowed=" | ".join(allowed)), place)
        case "value_error":
            return at(Fault(message=str(context.get("error", line["msg"])), field=field), place)
    if kind in ("too_short", "too_long"):
        fault = Fault(message=_TOO_SHORT if kind == "too_short" else "the list is too long", field=field)
        sign = ">=" if kind == "too_short" else "<="
        return at(replace(fault, allowed=f"{sign} {context.get('min_length', context.get('max_length'))} items"), place)
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        return at(Fault(field=field, got=shown_value(got), allowed=f"{sign} {context[name]}"), place)
    if kind in _TYPES:
        said = "a map" if isinstance(got, dict) else "a list" if isinstance(got, list) else ""
        fault = (
            Fault(message=f"got {said}", field=field, allowed=_TYPES[kind])
            if said
            else Fault(field=field, got=shown_value(got), allowed=_TYPES[kind])
        )
        return at(fault, place)
    return at(
        Fault(message=line["msg"], field=field, got=shown_value(got) if not isinstance(got, dict | list) else None),
        place,
    )


def _later(path: tuple[str | int, ...], later: bool) -> str:
    if path == ("moesim",):
        return "a scenario format this version does not read"
    if path == ("placement", "cpu_expert_layers"):
        return "experts on the CPU are not available yet"
    return "not available yet" if later else ""


def _words(text: str) -> list[str]:
    """``"'a', 'b' or 'c'"`` and ``"1"`` -> words."""
    return re.findall(r"'([^']*)'", text) or [text]


def _nearest_node(tree: Tree, path: tuple[str | int, ...]) -> Tree:
    node = tree
    for step in path:
        child = node.get(step)
        if child is None:
            break
        node = child
    return node


def _models(model: type[BaseModel], tree: Tree, path: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The models the map at `path` may be, narrowed by its discriminator."""
    found, node = [model], tree
    for step in path:
        node = node.get(step) or Tree(None, node.place, node.key)
        found = [
            m for old in found if step in old.model_fields for m in members(old.model_fields[str(step)].annotation)
        ]
        for tag in _TAGS:
            said = node.get(tag) if node.is_map else None
            if said is not None:
                narrowed = [m for m in found if tag in m.model_fields and str(said.value) in _literals(m, tag)]
                found = narrowed or found
    return found


def _literals(model: type[BaseModel], tag: str) -> list[str]:
    return [str(word) for word in getattr(model.model_fields[tag].annotation, "__args__", ())]


def _kinds(model: type[BaseModel], tree: Tree, path: tuple[str | int, ...], tag: str) -> list[str]:
    return [w for m in _models(model, tree, path) if tag in m.model_fields for w in _literals(m, tag) if w != _HIDDEN]


def _known(model: type[BaseModel], tree: Tree, path: tuple[str | int, ...]) -> set[str]:
    return {name for m in _models(model, tree, path) for name in m.model_fields}


def _description(model: type[BaseModel], tree: Tree, path: tuple[str | int, ...]) -> str:
    for owner in _models(model, tree, path[:-1]):
        if path and path[-1] in owner.model_fields:
            return owner.model_fields[str(path[-1])].description or ""
    return ""
