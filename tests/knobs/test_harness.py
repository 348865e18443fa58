"""The knob test itself can fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.knobs import leaves
from tests.knobs.effects import check
from tests.knobs.rows import Row


@pytest.mark.parametrize(
    ("changes", "then"),
    [
        ({"memory.kv_tokens": 65}, {"hit_rate": "down"}),  # no whole expert less
        ({"memory.reserve": "23.625 GiB"}, {"hit_rate": "up"}),  # the wrong way
        ({"memory.reserve": "23.625 GiB"}, {"seed": "change"}),
        ({"seed": 0}, {"result.hits": "change"}),
        ({"seed": 0}, {"page": None}),
        ({"seed": 0}, {"manifest": "no such text"}),
    ],
)
def test_a_row_without_effect_fails(changes: dict[str, Any], then: dict[str, Any]) -> None:
    (field,) = changes
    with pytest.raises(AssertionError):
        check(Row(field, "link", {}, changes, then))


def test_what_is_not_refused_fails() -> None:
    with pytest.raises(pytest.fail.Exception):
        check(Row("seed", "link", {}, {"seed": 1}, {"error": "seed"}))


def test_a_new_leaf_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = leaves.scenario_schema()
    number = {"type": "integer"}
    whole["$defs"]["NextGateSection"]["properties"]["planted"] = number
    whole["$defs"]["hardware.Storage"]["anyOf"][1]["properties"]["planted"] = {"anyOf": [number, {"enum": ["auto"]}]}
    known = leaves.leaves()
    monkeypatch.setattr(leaves, "scenario_schema", lambda: whole)
    found = leaves.leaves()
    assert found.keys() - known.keys() == {"prefetch[next_gate].planted", "hardware.storage.planted"}
    assert found["hardware.storage.planted"] == leaves.Leaf("hardware.storage.planted", ("auto",), ("integer",))


def test_all_parts_of_a_scenario_are_walked() -> None:
    known = leaves.leaves()
    assert len(known) > 250
    assert {
        "expert_cache.eviction.kind", "prefetch[previous].t_pred", "hardware.runtime.kernels.head.value",
        "hardware.links.host_to_device.bandwidth.curve.x", "hardware.storage.bandwidth.rows.*.lanes",
        "model.weights.head.bits_per_weight", "hardware.sources.*.url", "routing[trace].path", "model.granularity",
    } <= known.keys()  # fmt: skip
