"""Rows of the bench: ratios, what is met, what fails, and the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from moesim.bench import rows
from moesim.bench.clock import best_cpu, best_wall, wall_of
from moesim.bench.rows import Row
from moesim.bench.shapes import decode_plan
from moesim.cli import main
from moesim.engine.reference import simulate


def _row(ratio: float, target: float | None) -> Row:
    return Row(name="x", value=1.0, unit="s", against=ratio, ratio=ratio, target=target)


@pytest.mark.parametrize(
    ("ratio", "target", "met", "failed"),
    [(12.0, 12.0, True, False), (11.9, 12.0, False, False), (6.0, 12.0, False, False), (5.9, 12.0, False, True)],
)
def test_a_row_fails_below_half_of_its_target_only(ratio: float, target: float, met: bool, failed: bool) -> None:
    row = _row(ratio, target)
    assert (row.met, row.failed) == (met, failed)
    assert _row(ratio, None).met
    assert not _row(ratio, None).failed


def test_best_cpu_keeps_the_least_of_interleaved_runs() -> None:
    order: list[str] = []
    long = best_cpu([lambda: order.append("a"), lambda: (order.append("b"), sum(range(300_000)))], 3)
    assert order == ["a", "b"] * 3
    assert long[0] < long[1]


def test_wall_time_of_commands() -> None:
    nothing, pause = best_wall(
        [[sys.executable, "-c", "pass"], [sys.executable, "-c", "import time; time.sleep(1)"]], 1
    )
    assert pause > 1
    assert nothing < pause
    with pytest.raises(Exception, match="exit status 3"):
        wall_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_hit_rates_of_the_linear_rows_are_near() -> None:
    """Time per access compares data structures only if both shapes hit alike."""
    rates = []
    for experts in (16, 1024):
        plan = decode_plan(tokens=300, layers=2, experts=experts, top_k=8, slots=experts // 2)
        counters = simulate(plan).counters
        rates.append(counters["hits"] / counters["lookups"])
    assert rates == pytest.approx([0.5, 0.5], abs=0.06)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    made = [_row(3.0, None), _row(0.9, 1.0), _row(0.4, 1.0)]

    def fake(**_: object) -> Iterator[Row]:
        yield from made

    monkeypatch.setattr(rows, "measure", fake)
    return made


def test_json_has_the_columns_in_order(measured: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [list(row) for row in printed] == [["name", "value", "unit", "against", "ratio", "target"]] * len(measured)


def test_check_exits_1_below_half(measured: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--check"]) == 1
    said = capsys.readouterr()
    assert said.err.count("below half") == 1
    assert said.err.splitlines()[-1] == "try: moesim bench"
    assert said.out.count("unmet") == 2
    measured.pop()
    assert main(["bench", "--check"]) == 0


def test_every_kind_of_row_is_there() -> None:
    """The rows that need no command line, measured for real at their smallest."""
    pieces = dict(rows._ALL)
    made = [*pieces["growth with experts"](True), *pieces["growth with layers"](True)]
    assert [row.target for row in made] == [0.625, 0.87]
    assert all(row.ratio > 0 and row.value > 0 for row in made)
    assert set(pieces) >= {
        "the engine against the textbook model",
        "growth with tokens",
        "the command line",
        "quickstart",
    }
