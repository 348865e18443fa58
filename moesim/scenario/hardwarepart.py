"""The machine of a scenario: the named profile, its parts, the scenario's own numbers over them, with places."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moesim.errors import Fault, InputError
from moesim.hardware import lookup
from moesim.hardware.compose import compose
from moesim.hardware.machine import Machine
from moesim.scenario.compose import Composed, shown
from moesim.scenario.document import Tree, read
from moesim.scenario.faults import at, from_validation

__all__ = ["build_machine", "machine_tree"]

_SECTION = "hardware"


# Composition of parts is the hardware package's and works on plain data. So that places survive it, scalars travel as
# themselves with the node they came from; what cannot carry one (true, false, null) takes the place of its neighbours.
class _Text(str):
    __slots__ = ("node",)
    node: Tree


class _Int(int):
    node: Tree


class _Float(float):
    __slots__ = ("node",)
    node: Tree


def machine_tree(composed: Composed) -> Tree:
    """Every field of the machine with its place. Raises InputError, located."""
    section = composed.tree.get(_SECTION)
    allowed = " | ".join(lookup.names("machine")) or "the name of a machine"
    if section is None:
        raise InputError(at(Fault(message="missing", field=_SECTION, allowed=allowed), composed.tree.place))
    if not section.is_map:
        raise InputError(at(Fault(field=_SECTION, got=section.plain(), allowed=allowed), section.place))
    reader = _Reader(composed)
    try:
        whole = compose(_tagged(section), reader.read)
    except InputError as error:
        faults = [f if f.file else replace(f, field=f"{_SECTION}.{f.field}".rstrip(".")) for f in error.faults]
        raise InputError(*faults) from None
    if reader.machine:
        return _untagged({"name": reader.machine, **whole}, section)
    # no machine was named: what is missing is missing here, not in the part that happens to come first
    return replace(_untagged(whole, section), place=section.place, key=section.key)


def build_machine(tree: Tree) -> Machine:
    """The validated machine. Raises InputError, located."""
    try:
        return Machine.model_validate_json(json.dumps(tree.plain()))
    except ValidationError as error:
        raise InputError(*from_validation(error, tree, Machine, (_SECTION,))) from None


class _Reader:
    """Reads machines and parts by name for `compose`; parts that lie beside the machine come first."""

    def __init__(self, composed: Composed) -> None:
        self.composed = composed
        self.machine = ""
        self.folder: Path | None = None
        self.files: dict[str, Path] = {}

    def read(self, kind: str, name: str) -> Mapping[str, Any]:
        node = name.node if isinstance(name, _Text) else None
        first = None
        if self.folder is not None:
            first = self.folder if kind == "machine" else self.folder / "parts" / kind
        given = Path(name)
        if given.suffix in (".yaml", ".yml") and not given.is_absolute() and node is not None:
            place = node.place
            folder = self.files[place.file].parent if place.file in self.files else self.composed.folder(place)
            given = folder / given if (folder / given).is_file() else given
        try:
            path = lookup.find(str(given), kind, first=first)
        except InputError as error:
            faults = [
                replace(fault, field=_SECTION if kind == "machine" else f"{_SECTION}.{kind}") for fault in error.faults
            ]
            raise InputError(*(at(f, node.place) if node is not None else f for f in faults)) from None
        if kind == "machine" and not self.machine:
            self.machine, self.folder = path.stem, path.parent
        self.files[shown(path)] = path
        tree = read(path, shown(path))
        if not tree.is_map:
            raise InputError(at(Fault(message="not a map of fields", file=shown(path)), tree.place))
        made = _tagged(tree)
        assert isinstance(made, dict)
        return made


def _tagged(tree: Tree) -> Any:
    value = tree.value
    if isinstance(value, dict):
        return {key: _tagged(child) for key, child in value.items()}
    if isinstance(value, tuple):
        return [_tagged(child) for child in value]
    if value is None or isinstance(value, bool):
        return value
    made = _Text(value) if isinstance(value, str) else _Int(value) if isinstance(value, int) else _Float(value)
    made.node = tree
    return made


def _untagged(data: Any, near: Tree) -> Tree:
    """The tree of composed data; values without a place of their own take that of the first that has one."""
    if isinstance(data, dict):
        near = _first(data) or near
        return Tree({key: _untagged(child, near) for key, child in data.items()}, near.key, near.key)
    if isinstance(data, list):
        near = _first(data) or near
        return Tree(tuple(_untagged(child, near) for child in data), near.place, near.key)
    if isinstance(data, _Text | _Int | _Float):
        plain: Any = str(data) if isinstance(data, _Text) else int(data) if isinstance(data, _Int) else float(data)
        return Tree(plain, data.node.place, data.node.key)
    return Tree(data, near.place, near.key)


def _first(data: Any) -> Tree | None:
    if isinstance(data, _Text | _Int | _Float):
        return data.node
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return next((found for child in children if (found := _first(child)) is not None), None)
