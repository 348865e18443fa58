"""Roofline: launch + max(arithmetic, bytes), and the sum over parts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.cost.roofline import NOTHING, Part, combine, roofline

rate = st.integers(1, 10**15)
work = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("flops", "moved", "launch_ps", "ticks", "why"),
    [
        (100, 40, 7, 107, "compute"),
        (40, 100, 7, 107, "memory"),
        (40, 50, 60, 110, "launch"),
        (0, 3, 0, 3, "memory"),
        (0, 0, 60, 0, "none"),
    ],
)
def test_hand_computed(flops: int, moved: int, launch_ps: int, ticks: int, why: str) -> None:
    one = Fraction(10**12)  # 1 FLOP or 1 B a tick
    launch = Fraction(launch_ps, 10**12)
    got = roofline(flops=flops, moved=moved, peak=one * 2, efficiency=Fraction(1, 2), bandwidth=one, launch=launch)
    assert (got.ticks, got.why, got.flops, got.bytes) == (ticks, why, flops, moved)


def test_parts_run_one_after_another() -> None:
    tick = Fraction(1, 10**12)
    parts = [Part("a", "bf16", 10, 1, 10 * tick, 1 * tick), Part("b", "bf16", 1, 20, 1 * tick, 20 * tick)]
    got = combine(parts, 3 * tick)
    assert (got.ticks, got.why, got.flops, got.bytes) == (33, "memory", 11, 21)


def test_rounding_happens_once_and_up() -> None:
    third = Fraction(1, 3 * 10**12)
    parts = [Part("a", "bf16", 1, 1, third, third)] * 3
    assert combine(parts, Fraction(0)).ticks == 1
    assert combine(parts, third).ticks == 2


def test_nothing_to_do_costs_nothing() -> None:
    assert combine([], Fraction(1)) is NOTHING


@given(st.tuples(work, work), st.tuples(rate, rate), st.integers(0, 10**6), st.tuples(work, work))
def test_more_work_or_slower_rates_never_shorten(
    done: tuple[int, int], rates: tuple[int, int], launch: int, more: tuple[int, int]
) -> None:
    def ticks(flops: int, moved: int, peak: Fraction, bandwidth: Fraction) -> int:
        half = Fraction(1, 2)
        start = Fraction(launch, 10**12)
        made = roofline(flops=flops, moved=moved, peak=peak, efficiency=half, bandwidth=bandwidth, launch=start)
        assert made.ticks >= made.flops * 10**12 / (peak * half)
        assert made.ticks >= made.bytes * 10**12 / bandwidth
        return made.ticks

    peak, bandwidth = (Fraction(r) for r in rates)
    base = ticks(*done, peak, bandwidth)
    assert base <= ticks(done[0] + more[0], done[1] + more[1], peak, bandwidth)
    assert base <= ticks(*done, peak / 3, bandwidth / 2)
