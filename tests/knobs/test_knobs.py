"""Every leaf of the scenario schema does what its row in `knobs.yaml` says: no parameter is parsed and dropped."""

from __future__ import annotations

import re
from typing import Any

import pytest

from moesim.errors import InputError
from tests.knobs.effects import check, scenario
from tests.knobs.leaves import field_of, leaves
from tests.knobs.rows import Row, rows, unmatched

LEAVES = leaves()


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_has_a_row(leaf: str) -> None:
    assert leaf in rows(), f"knobs.yaml has no row for {leaf}"


def test_every_row_has_a_leaf() -> None:
    assert [leaf for leaf in rows() if leaf not in LEAVES] == []
    assert unmatched() == []


@pytest.mark.parametrize("leaf", [leaf for leaf, one in LEAVES.items() if len(one.forms) > 1 or one.words])
def test_every_word_and_form_of_a_leaf_is_tried(leaf: str) -> None:
    tried = [value for row in rows().get(leaf, []) for value in _values(row)]
    missing = [word for word in LEAVES[leaf].words if not any(_same(value, word) for value in tried)]
    missing += [form for form in LEAVES[leaf].forms if not any(_has_form(value, form) for value in tried)]
    assert not missing, f"no row of {leaf} goes from or to {missing}"


@pytest.mark.parametrize("row", [row for many in rows().values() for row in many], ids=lambda row: row.id)
def test_knob(row: Row) -> None:
    check(row)


def _values(row: Row) -> list[Any]:
    """The values of a leaf before and after a row's change."""
    field = field_of(row.leaf)
    pattern = re.escape(field).replace(r"\*", "[^.]+")
    field = next((name for name in row.changes if re.fullmatch(pattern, name)), field)
    found = []
    for changes in (row.given, {**row.given, **row.changes}):
        if field in changes:
            found.append(changes[field])
            continue
        try:
            value: Any = scenario(row.on, changes).resolved()
        except InputError:
            continue
        for step in field.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        found.append(value)
    return found


def _same(value: Any, word: Any) -> bool:
    return type(value) is type(word) and value == word


def _has_form(value: Any, form: str) -> bool:
    if form in ("number", "integer"):
        return isinstance(value, int if form == "integer" else int | float) and not isinstance(value, bool)
    if form == "array":
        return isinstance(value, list | tuple)
    return isinstance(value, str) and re.fullmatch(form, value) is not None
