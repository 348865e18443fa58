"""From a dotted field to the place in a file that wrote it, through extends, presets, machine parts and `--set`."""

from __future__ import annotations

from collections.abc import Iterable

from moesim.errors import Fault
from moesim.scenario.document import Tree

__all__ = ["find", "locate", "located", "steps"]


def steps(field: str) -> tuple[str | int, ...]:
    """``prefetch.recall.0`` or ``prefetch.recall[0]`` -> path."""
    parts = field.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)


def find(tree: Tree, field: str) -> tuple[Tree, bool]:
    """The node of a field and True; the nearest node above it and False where the field itself was never written."""
    node = tree
    for step in steps(field):
        child = node.get(step) or node.get(str(step))
        if child is None:
            return node, False
        node = child
    return node, True


def locate(tree: Tree, field: str) -> Tree:
    """The node of a field, or the nearest above it."""
    return find(tree, field)[0]


def located(faults: Iterable[Fault], tree: Tree) -> list[Fault]:
    """The faults, those that know only their field put at its place. Faults with a file stay as they are."""
    done = []
    for fault in faults:
        if fault.file:
            done.append(fault)
            continue
        node, exact = find(tree, fault.field)
        place = node.place if exact and "unknown" not in fault.message else node.key
        done.append(fault.located(place.file, place.line, place.col))
    return done
