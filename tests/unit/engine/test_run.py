"""What a run says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import moesim as ms
from moesim.core.streams import stream_id
from tests.support.tiny import tiny


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"routing": {"kind": "uniform"}},
        {"routing": {"kind": "zipf", "exponent": 1}},
        {"routing": {"kind": "sticky_zipf", "exponent": 1, "repeat": "30 %"}},
        {"model.granularity": 2},
        {"model.granularity": 2, "routing.split": "independent"},
        {"model.granularity": "1/2", "routing.split": "independent"},
    ],
)
def test_the_streams_that_it_names_are_those_it_draws_from(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: set[str] = set()

    def noted(name: str) -> int:
        drawn.add(name)
        return stream_id(name)

    for module in ("generators", "regranulate"):
        monkeypatch.setattr(f"moesim.routing.{module}.stream_id", noted)
    run = ms.simulate(tiny(tmp_path).replace(changes))
    if changes.get("routing.split") is None:
        drawn -= {"routing.split", "routing.merge"}  # asked for by name, but siblings draw nothing
    assert set(run.info.streams) == drawn
