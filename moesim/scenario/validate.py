"""The sections of a composed scenario, validated; where some are wrong, a stand-in so that the rest is checked too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from moesim.errors import Fault
from moesim.scenario.document import Tree, dotted, from_plain
from moesim.scenario.faults import at, from_validation
from moesim.scenario.locate import steps
from moesim.scenario.sections import Sections

__all__ = ["LIVE_FIELDS", "validate_sections"]

LIVE_FIELDS = ("expert_cache.eviction", "prefetch")
"""Where a policy of a script may stand."""

# What stands in for a required value that is wrong: chosen so that no other check can fail because of it.
_STAND_INS: dict[tuple[str, ...], Any] = {
    ("moesim",): 1,
    ("workload", "kind"): "batch",
    ("workload", "prompt_tokens"): 1,
    ("workload", "output_tokens"): 1,
    ("memory", "reserve"): "0 B",
    ("memory", "kv_tokens"): 1_000_000_000,
}


def validate_sections(tree: Tree, live: Mapping[str, Any]) -> tuple[Sections | None, list[Fault], set[str]]:
    """The sections other than hardware and model, the faults in them, and the fields that a stand-in replaced.

    With faults the sections are for further checks only, and only None if even stand-ins do not help.
    """
    faults: list[Fault] = []
    tree = tree.with_value({key: child for key, child in tree.value.items() if key not in ("hardware", "model")})
    for field in LIVE_FIELDS:
        spot = tuple(field.split("."))
        node = tree.get(*spot)
        kind = node.get("kind") if node is not None else None
        if field not in live and kind is not None and kind.value == "python":
            message = "a policy of a script cannot be named in a file: pass the class to Scenario.replace"
            faults.append(at(Fault(message=message, field=field, got="python"), kind.place))
            tree = _without(tree, spot)
    replaced = {fault.field for fault in faults}
    for whole_sections in (False, True, True):
        try:
            return Sections.model_validate_json(json.dumps(tree.plain())), faults, replaced
        except ValidationError as error:
            found = from_validation(error, tree, Sections)
            if not replaced or not whole_sections:
                faults += found
            for fault in found:
                wrong = steps(fault.field)[:1] if whole_sections else steps(fault.field)
                replaced.add(dotted(wrong))
                tree = _without(tree, tuple(map(str, wrong)))
            for needed, value in _STAND_INS.items():
                if tree.get(*needed) is None:
                    tree = tree.set(needed, from_plain(value, tree.place))
    return None, faults, replaced


def _without(tree: Tree, path: tuple[str, ...]) -> Tree:
    """The tree less one node; a node within a list takes the whole list with it."""
    if not path or not tree.is_map or path[0] not in tree.value:
        return tree
    child = tree.value[path[0]]
    rest = {key: value for key, value in tree.value.items() if key != path[0]}
    if len(path) > 1 and child.is_map:
        rest[path[0]] = _without(child, path[1:])
    return tree.with_value(rest)
