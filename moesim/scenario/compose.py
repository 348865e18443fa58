"""From files and `--set` texts to one tree: extends, short forms, merging.

Maps merge, lists and scalars replace. A map whose `kind` (or `discipline`) changes replaces the old one; of the old one
only the fields survive that all kinds share. `model.preset` and `model.config` exclude each other: the later one wins.
A file that sets `routing.path` without a kind means `kind: trace`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesim.errors import Fault, InputError
from moesim.hardware import lookup
from moesim.scenario.document import Place, Tree, from_plain, parse, read
from moesim.scenario.sections import CHOICES, DISCRIMINATED, SHORT_FORMS

__all__ = ["Composed", "merge", "normal", "open_scenario", "override", "set_text", "shown"]

_MAX_EXTENDS = 20


@dataclass(frozen=True)
class Composed:
    """A scenario's own text, composed: `tree` in long form, and the file behind every name that places use."""

    tree: Tree
    name: str
    files: Mapping[str, Path] = field(default_factory=dict)

    def folder(self, place: Place) -> Path:
        """What a relative path written at `place` is relative to: its file's folder, or the working directory."""
        path = self.files.get(place.file)
        return path.parent if path is not None else Path.cwd()


def shown(path: Path) -> str:
    """A file's name in messages: relative to the working directory where it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def open_scenario(name: str | Path, sets: Iterable[str] = ()) -> Composed:
    """A scenario by name or path with everything it extends, `--set` texts applied in order. Raises InputError."""
    files: dict[str, Path] = {}
    path = _find(str(name))
    faults: list[Fault] = []
    tree: Tree | None = None
    try:
        tree = _open(path, files, ())
    except InputError as error:
        faults += error.faults
    for text in sets:
        try:
            change = set_text(text)
            tree = tree if tree is None else merge(tree, change)
        except InputError as error:
            faults += error.faults
    if faults or tree is None:
        raise InputError(*faults)
    return Composed(tree, path.stem, files)


def override(composed: Composed, changes: Mapping[str, Any]) -> Composed:
    """The same scenario with plain values put at dotted fields, by the rules of `--set`. Raises InputError."""
    tree = composed.tree
    for dots, value in changes.items():
        place = Place(f"replace({dots})")
        tree = merge(tree, _nested(_steps(dots, place), from_plain(value, place), place))
    return Composed(tree, composed.name, composed.files)


def set_text(text: str) -> Tree:
    """The tree of one ``a.b=value``; the value is read as YAML. Raises InputError."""
    place = Place(f"--set {text}")
    dots, equals, value = text.partition("=")
    if not equals:
        raise InputError(Fault(file=place.file, message="has no =", allowed="--set field.name=value"))
    return _nested(_steps(dots.strip(), place), parse(value, place.file, lines=False), place)


def _steps(dots: str, place: Place) -> tuple[str, ...]:
    steps = tuple(dots.split("."))
    if not all(step.strip() == step and step for step in steps):
        raise InputError(
            Fault(file=place.file, message="not a field", got=dots, allowed="dotted names, as in memory.reserve")
        )
    return steps


def _nested(steps: tuple[str, ...], value: Tree, place: Place) -> Tree:
    return normal(Tree({}, place, place).set(steps, value))


def normal(tree: Tree) -> Tree:
    """The tree with short forms written out (`eviction: lru` -> `eviction: {kind: lru}`)."""
    for path, (key, whole) in SHORT_FORMS.items():
        node = tree.get(*path)
        if node is not None and isinstance(node.value, str):
            inner = {key: Tree(node.value, node.place, node.place)}
            tree = tree.set(path, Tree(inner, node.place, node.key, whole=whole))
    said = tree.get("routing", "path")
    if said is not None and tree.get("routing", "kind") is None:
        tree = tree.set(("routing", "kind"), Tree("trace", said.place, said.key))
    return tree


def merge(lower: Tree, upper: Tree, path: tuple[str, ...] = ()) -> Tree:
    """`upper` over `lower` by the rules in the module's docstring; places follow the values."""
    if not (lower.is_map and upper.is_map) or upper.whole or path in CHOICES:
        return upper
    kept: dict[str, Tree] = dict(lower.value)
    if path in DISCRIMINATED:
        tag, common = DISCRIMINATED[path]
        old, new = kept.get(tag), upper.value.get(tag)
        if new is not None and old is not None and new.value != old.value:
            kept = {name: child for name, child in kept.items() if name in common}
    if path == ("model",):
        kept = _drop_rival(kept, upper.value, "preset", "config")
    if path[:1] == ("hardware",):
        kept = _drop_rival(kept, upper.value, "value", "curve")
    for name, child in upper.value.items():
        kept[name] = merge(kept[name], child, (*path, name)) if name in kept else child
    return Tree(kept, upper.place, upper.key, whole=lower.whole)


def _drop_rival(kept: dict[str, Tree], upper: Mapping[str, Tree], one: str, other: str) -> dict[str, Tree]:
    gone = {other} if one in upper and other not in upper else {one} if other in upper and one not in upper else set()
    return {name: child for name, child in kept.items() if name not in gone}


def _find(name: str) -> Path:
    return lookup.find(name, "scenario")


def _open(path: Path, files: dict[str, Path], chain: tuple[Path, ...]) -> Tree:
    name = shown(path)
    files[name] = path
    root = read(path, name)
    if not root.is_map:
        got = "nothing" if root.value is None else f"a {'list' if isinstance(root.value, tuple) else 'scalar'}"
        empty = Fault(message=f"got {got}", allowed="a map of sections, as `moesim scenario schema` describes")
        raise InputError(empty.located(name, 1, 1))
    tree = normal(root)
    base = root.value.get("extends")
    if base is None:
        return tree
    tree = tree.with_value({key: child for key, child in tree.value.items() if key != "extends"})

    def fault(message: str, got: Any = None, allowed: str = "") -> InputError:
        at = base.place
        return InputError(
            Fault(message=message, field="extends", got=got, allowed=allowed).located(at.file, at.line, at.col)
        )

    if not isinstance(base.value, str) or not base.value:
        raise fault("", got=base.plain(), allowed="the path or name of one scenario")
    below = path.parent / base.value
    if below.is_file():
        found = below
    else:
        try:
            found = _find(base.value)
        except InputError as error:
            first = error.faults[0]
            raise InputError(
                Fault(
                    message=first.message, field="extends", got=base.value, allowed=first.allowed, nearest=first.nearest
                ).located(base.place.file, base.place.line, base.place.col)
            ) from None
    so_far = (*chain, path.resolve())
    if found.resolve() in so_far:
        names = [p.name for p in so_far[so_far.index(found.resolve()) :]]
        raise fault(f"goes round in a circle: {' -> '.join([*names, found.name])}")
    if len(so_far) > _MAX_EXTENDS:
        raise fault(f"a chain of more than {_MAX_EXTENDS} files")
    return merge(_open(found, files, so_far), tree)
