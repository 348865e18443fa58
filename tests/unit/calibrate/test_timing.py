"""The harness recovers a synthetic device exactly; clocks count calls, budgets and waits as they say."""

from __future__ import annotations

import time

import pytest

from moesim.calibrate.capture.rows import Row
from moesim.calibrate.capture.timing import HostClock, Rotation, ScriptedClock, bandwidth, overlap

ROW = Row(section="copies", op="h2d", bytes=1 << 20)


def test_a_scripted_device_is_recovered_exactly() -> None:
    clock = ScriptedClock(lambda about: 10e-6 + about.bytes / 25e9)
    calls: list[int] = []
    for size in (4096, 1 << 20, 512 << 20):
        row = ROW.but(bytes=size)
        samples = clock.time(lambda: calls.append(1), warmup=3, repeats=5, budget=1.0, about=row)
        row = row.but(seconds=tuple(samples))
        assert row.median == 10e-6 + size / 25e9
        assert bandwidth(row) == size / (10e-6 + size / 25e9)
    assert len(calls) == 3


def test_the_median_is_of_the_raw_samples() -> None:
    clock = ScriptedClock(lambda about: [5.0, 1.0, 100.0, 2.0, 3.0])
    samples = clock.time(lambda: None, warmup=1, repeats=5, budget=1.0, about=ROW)
    assert samples == [5.0, 1.0, 100.0, 2.0, 3.0]
    assert ROW.but(seconds=tuple(samples)).median == 3.0


@pytest.mark.parametrize(("both", "share"), [(3.0, 1.0), (5.0, 0.0), (4.0, 0.5), (6.0, -0.5)])
def test_overlap_is_the_hidden_share_of_the_shorter(both: float, share: float) -> None:
    assert overlap([2.0], [3.0], [both]) == share


def test_a_scripted_clock_wants_to_know_what_it_times() -> None:
    with pytest.raises(ValueError, match="told what"):
        ScriptedClock(lambda about: 1.0).time(lambda: None, warmup=0, repeats=1, budget=0.0)


def test_the_host_clock_times_a_sleep() -> None:
    samples = HostClock().time(lambda: time.sleep(0.002), warmup=1, repeats=4, budget=10.0)
    assert len(samples) == 4 and all(0.002 <= s < 0.1 for s in samples)


def test_short_calls_are_timed_in_bundles_and_a_spent_budget_leaves_three_samples() -> None:
    calls: list[int] = []
    samples = HostClock().time(lambda: calls.append(1), warmup=2, repeats=50, budget=0.0)
    assert len(samples) == 3
    assert len(calls) > 2 + 3 * 2


def test_the_host_clock_waits_for_the_device_unless_it_times_the_issue() -> None:
    log: list[str] = []
    HostClock("h", lambda: log.append("sync"), sample=0.0).time(
        lambda: log.append("call"), warmup=1, repeats=1, budget=0
    )
    assert log == ["sync", "call", "sync"] * 2
    log.clear()
    clock = HostClock("h", lambda: log.append("sync"), sample=0.0, wait=False)
    clock.time(lambda: log.append("call"), warmup=1, repeats=1, budget=0)
    assert log == ["sync", "call"] * 2


def test_prepare_runs_before_each_sample_of_one_call() -> None:
    log: list[str] = []
    HostClock().time(lambda: log.append("call"), warmup=1, repeats=3, budget=1.0, prepare=lambda: log.append("prepare"))
    assert log == ["prepare", "call"] * 4


def test_rotation_exceeds_the_caches_within_the_room() -> None:
    assert Rotation.copies(1 << 20, 50 << 20, 1 << 40, most=200) * (1 << 20) > 2 * (50 << 20)
    assert Rotation.copies(1 << 30, 50 << 20, 1 << 40) == 1
    assert Rotation.copies(1 << 30, 50 << 20, 1) == 1
