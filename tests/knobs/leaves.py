"""Every leaf of the scenario schema, by name.

A leaf is a field that holds a value: `workload.batch_size`. Fields of a section that comes in kinds carry the kind in
brackets (`prefetch[next_gate].recall`), fields of tables and lists a star (`hardware.sources.*.title`). The short forms
that files may use in place of a map (`eviction: lru`, `bandwidth: "26 GB/s"`) are the map's own leaf (`.kind`,
`.value`) and not listed again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from moesim.scenario.jsonschema import scenario_schema

__all__ = ["Leaf", "field_of", "leaves"]

Schema = dict[str, Any]
_TAGS = ("kind", "discipline")


@dataclass(frozen=True)
class Leaf:
    """A leaf: the words that it may hold, and the other forms of its value (a pattern, or a type of JSON)."""

    name: str
    words: tuple[Any, ...] = ()
    forms: tuple[str, ...] = ()


def field_of(leaf: str) -> str:
    """The dotted field of a leaf: its name without kinds."""
    return re.sub(r"\[[^]]*\]", "", leaf)


def leaves() -> dict[str, Leaf]:
    """All leaves of a scenario file by name."""
    schema = scenario_schema()
    found: dict[str, Leaf] = {}
    for name, node in schema["properties"].items():
        _walk(node, name, schema["$defs"], found)
    return found


def _walk(node: Schema, path: str, defs: dict[str, Schema], found: dict[str, Leaf]) -> None:
    alternatives = [one for one in _alternatives(node, defs) if one.get("type") != "null"]
    maps = [one for one in alternatives if one.get("type") == "object"]
    lists = [one for one in alternatives if one.get("type") == "array" and _alternatives_of_items(one, defs)]
    plain = [one for one in alternatives if one not in maps and one not in lists]
    tag = next((t for t in _TAGS if len(maps) > 1 and all(t in one["properties"] for one in maps)), "")
    short = bool(tag) or any(_has_short_form(one, plain) for one in maps)
    if plain and not short:
        found[path] = _leaf(path, plain)
    if tag:
        found[f"{path}.{tag}"] = Leaf(f"{path}.{tag}", tuple(one["properties"][tag]["const"] for one in maps))
    for one in maps:
        here = f"{path}[{one['properties'][tag]['const']}]" if tag else path
        for name, child in one.get("properties", {}).items():
            if name != tag:
                _walk(child, f"{here}.{name}", defs, found)
        if isinstance(one.get("additionalProperties"), dict):
            names = one.get("propertyNames", {}).get("enum")
            for name in names or ["*"]:
                _walk(one["additionalProperties"], f"{path}.{name}", defs, found)
    for one in lists:
        _walk(one["items"], f"{path}.*", defs, found)


def _has_short_form(one: Schema, plain: list[Schema]) -> bool:
    """Whether a scalar stands for this map's value, or for its kind."""
    fields = one.get("properties", {})
    by_kind = any(tag in fields for tag in _TAGS) and all("enum" in scalar for scalar in plain)
    return by_kind or "source" in fields


def _alternatives(node: Schema, defs: dict[str, Schema]) -> list[Schema]:
    """The schemas that a node allows, references resolved."""
    if "$ref" in node:
        return _alternatives(defs[node["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in node:
        return [one for child in node["anyOf"] for one in _alternatives(child, defs)]
    return [node]


def _alternatives_of_items(node: Schema, defs: dict[str, Schema]) -> bool:
    """Whether a list holds maps."""
    return "items" in node and any(one.get("type") == "object" for one in _alternatives(node["items"], defs))


def _leaf(path: str, plain: list[Schema]) -> Leaf:
    words: list[Any] = []
    forms: list[str] = []
    for one in plain:
        if "enum" in one or "const" in one:
            words += one.get("enum", [one.get("const")])
        elif one["type"] == "boolean":
            words += [True, False]
        else:
            forms.append(one.get("pattern", one["type"]))
    # a ratio may be a bare number in place of text: that is one form, and core's to test
    kept = [form for form in forms if form != "number" or not any(re.fullmatch(one, "50 %") for one in forms)]
    return Leaf(path, tuple(words), tuple(dict.fromkeys(kept)))
