"""The rows of `knobs.yaml`: what to change for each leaf, where, and what must come of it.

    leaf:
      on: link                    # scenarios/link.yaml
      with: {field: value}        # set before and after (optional)
      to: value                   # the leaf's new value; or each: [several]; or set: {field: value, field: value}
      then: {tpot_ms.mean: up}    # see effects.py

A leaf has one such row or a list of them. `patterns` holds rows for many leaves at once: `match` is a regular
expression for the whole name of a leaf. A leaf's own row wins; else exactly one pattern must match. In texts, {here}
is the folder of the scenarios; in patterns {number} is the field above the leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.knobs.leaves import field_of, leaves

__all__ = ["SCENARIOS", "Row", "read", "rows", "unmatched"]

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
_KEYS = {"on", "with", "to", "each", "set", "then", "match"}


@dataclass(frozen=True, eq=False)
class Row:
    """One change of one leaf."""

    leaf: str
    on: str
    given: dict[str, Any]
    changes: dict[str, Any]
    then: dict[str, Any]

    @property
    def id(self) -> str:
        """For the names of tests."""
        value = self.changes.get(field_of(self.leaf), self.changes)
        text = value if isinstance(value, str) else json.dumps(value)
        return f"{self.leaf}={text.replace(str(SCENARIOS), '.')[:60]}"


def read(name: str) -> Any:
    """A YAML file of this folder, {here} filled in."""
    return _filled(YAML(typ="safe", pure=True).load(HERE / name), "{here}", str(SCENARIOS))


def _filled(data: Any, name: str, text: str) -> Any:
    if isinstance(data, Mapping):
        return {key: _filled(value, name, text) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, name, text) for value in data]
    return data.replace(name, text) if isinstance(data, str) else data


@cache
def rows() -> dict[str, list[Row]]:
    """The rows of every leaf that has any, and of names in the file that are no leaves."""
    table = read("knobs.yaml")
    found = {leaf: list(_rows(leaf, said)) for leaf, said in table["leaves"].items()}
    for leaf in leaves():
        if leaf not in found:
            matching = [said for said in table["patterns"] if re.fullmatch(said["match"], leaf)]
            if matching:
                assert len(matching) == 1, f"{leaf} matches several patterns: {[said['match'] for said in matching]}"
                found[leaf] = list(_rows(leaf, _filled(matching[0], "{number}", field_of(leaf).rpartition(".")[0])))
    return found


def unmatched() -> list[str]:
    """Patterns that no leaf needs."""
    table = read("knobs.yaml")
    free = [leaf for leaf in leaves() if leaf not in table["leaves"]]
    return [said["match"] for said in table["patterns"] if not any(re.fullmatch(said["match"], one) for one in free)]


def _rows(leaf: str, said: Any) -> Iterator[Row]:
    for one in said if isinstance(said, list) else [said]:
        assert set(one) <= _KEYS, f"{leaf}: unknown {set(one) - _KEYS}"
        assert sum(key in one for key in ("to", "each", "set")) == 1, f"{leaf}: one of to, each, set"
        field = field_of(leaf)
        changes = [one["set"]] if "set" in one else [{field: value} for value in one.get("each", [one.get("to")])]
        then = one["then"] if isinstance(one["then"], dict) else {one["then"]: None}
        for change in changes:
            yield Row(leaf, one["on"], dict(one.get("with", {})), dict(change), then)
