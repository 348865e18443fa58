"""Where every number of a resolved scenario comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from moesim.scenario.document import Tree
from moesim.scenario.locate import steps

if TYPE_CHECKING:
    from moesim.hardware.machine import Machine

__all__ = ["NumberSource", "leaves", "sources"]

# What stands behind numbers that no file states.
_SEMANTICS = "moesim's execution model (moesim.engine.spec)"
_CITED = {
    "prefetch.slots": ("Eliseev & Mazur, Fast Inference of MoE with Offloading", "https://arxiv.org/abs/2312.17238"),
}
_NUMBER = re.compile(r"[0-9][0-9.]*(?:[eE][+-]?[0-9]+)? *[A-Za-zµμ%/]{0,12}")
_MODEL_SOURCE = "config"  # the key in a preset's sources table that its shape comes from


class NumberSource(NamedTuple):
    """`kind`: datasheet, measured, assumed, published (a model's own files), chosen (by the scenario) or default."""

    title: str
    kind: str
    url: str = ""
    date: str = ""


def leaves(data: Any, path: str = "") -> list[tuple[str, Any]]:
    """Dotted field and value of every scalar in plain data; lists of scalars count as one leaf."""
    if isinstance(data, Mapping):
        return [leaf for key, child in data.items() for leaf in leaves(child, f"{path}.{key}" if path else str(key))]
    if isinstance(data, list) and any(isinstance(child, Mapping | list) for child in data):
        return [leaf for index, child in enumerate(data) for leaf in leaves(child, f"{path}.{index}")]
    return [(path, data)]


def _is_number(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_number(one) for one in value)
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def sources(resolved: Mapping[str, Any], tree: Tree, machine: Machine) -> dict[str, NumberSource]:
    """Dotted field -> source, for every number of a resolved scenario (sources tables aside)."""
    found: dict[str, NumberSource] = {}
    for field, value in leaves(resolved):
        path = steps(field)
        if not _is_number(value) or "sources" in path[:2] or field in ("moesim", "routing.sha256"):
            continue
        found[field] = _of(field, path, tree, machine)
    return found


def _of(field: str, path: tuple[str | int, ...], tree: Tree, machine: Machine) -> NumberSource:
    node, parents = tree, [tree]
    for step in path:
        child = node.get(step)
        if child is None:
            title, url = _CITED.get(field, (_SEMANTICS, ""))
            return NumberSource(title, "default", url)
        node = child
        parents.append(node)
    if path[0] == "hardware":
        for parent in reversed(parents):
            key = parent.get("source")
            if key is not None and key.value in machine.sources:
                source = machine.sources[key.value]
                return NumberSource(source.title, source.kind, source.url, source.date)
        return NumberSource(_file(node), "assumed")
    if path[0] == "model":
        table = tree.get("model", "sources", _MODEL_SOURCE)
        # any line of the table: one that --set changed does not make the others strangers
        if table is not None and table.is_map and node.place.file in {line.place.file for line in table.value.values()}:
            said = table.plain()
            title, url, date = (str(said.get(name, "")) for name in ("title", "url", "date"))
            return NumberSource(title, "published", url, date)
    return NumberSource(_file(node), "chosen")


def _file(node: Tree) -> str:
    """The file (without its folder) and line that wrote a value, or the `--set` that did."""
    place = node.place
    return f"{PurePath(place.file).name}:{place.line}" if place.line else place.file
