"""From a dotted field to the place in a file that wrote it, through extends, presets, machine parts and `--set`."""

from __future__ import annotations

from collections.abc import Iterable

from moesim.errors import Fault
from moesim.scenario.document import Place, Tree

__all__ = ["locate", "located", "place_of", "steps"]


def steps(field: str) -> tuple[str | int, ...]:
    """``prefetch.recall.0`` or ``prefetch.recall[0]`` -> path."""
    parts = field.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)


def locate(tree: Tree, field: str) -> Tree:
    """The node of a field; the nearest node above it where the field itself was never written."""
    node = tree
    for step in steps(field):
        child = node.get(step) or node.get(str(step))
        if child is None:
            break
        node = child
    return node


def place_of(tree: Tree, field: str) -> Place:
    """Where a field's value is written; the key of the section above it where it was left out."""
    node = locate(tree, field)
    return node.place if node.is_map is False else node.key


def located(faults: Iterable[Fault], tree: Tree) -> list[Fault]:
    """The faults, those that know only their field put at its place. Faults with a file stay as they are."""
    done = []
    for fault in faults:
        if fault.file:
            done.append(fault)
            continue
        node = locate(tree, fault.field)
        place = node.key if "unknown" in fault.message or node.is_map else node.place
        done.append(fault.located(place.file, place.line, place.col))
    return done
