"""A run folder's scenario.yaml is a scenario: it gives the same run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import moesim as ms

SHORT = {"workload.output_tokens": 4, "workload.sequences": 1, "record.timeline": None}


@pytest.mark.parametrize(
    "name, changes",
    [
        ("quickstart", {}),
        ("quickstart", {"model.granularity": 2, "routing.split": {"correlation": 0.5}}),
        ("quickstart", {"expert_cache.capacity": {"slots_per_layer": 20}, "placement.pinned": {"popular": "2 GiB"}}),
        ("mixtral-rtx4090", {}),
        ("qwen3-30b-rtx4090", {"prefetch": {"kind": "previous", "into": "cache"}}),
        ("oneplus-15r-qwen3", {}),
    ],
)
def test_resolved_scenarios_load_and_run_the_same(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    sc = ms.load(name).replace({**SHORT, **changes})
    run = ms.simulate(sc)
    again = ms.load(run.save(tmp_path / "run") / "scenario.yaml")
    assert again.hash == sc.hash
    assert ms.simulate(again).summary == run.summary
