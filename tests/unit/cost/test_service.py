"""Service: seconds for an amount of work on a scalar rate or a curve."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.cost.service import Service


def log_curve(points: dict[int, int]) -> Service:
    """Rates linear in log2 between points, as hardware curves are."""
    xs = sorted(points)

    def at(x: int) -> Fraction:
        for low, high in pairwise(xs):
            if low <= x <= high:
                share = Fraction(log2(x / low) / log2(high / low)).limit_denominator(10**6)
                return points[low] + share * (points[high] - points[low])
        return Fraction(points[xs[0] if x < xs[0] else xs[-1]])

    return Service.of_curve(at, xs)


curves = st.dictionaries(st.integers(1, 1 << 30), st.integers(1, 10**12), min_size=1, max_size=6).map(log_curve)


def test_a_scalar_rate_is_x_over_rate() -> None:
    service = Service(Fraction(7, 3))
    assert service.time(14) == 6
    assert service.time(0) == 0
    assert service.rate(5) == Fraction(7, 3) == service.peak


def test_a_curve_is_exact_at_its_points_and_clamped_outside() -> None:
    service = log_curve({1024: 100, 4096: 400, 65536: 500})
    assert [service.time(x) for x in (512, 1024, 4096, 65536, 131072)] == [
        Fraction(512, 100), Fraction(1024, 100), Fraction(4096, 400), Fraction(65536, 500), Fraction(131072, 500),
    ]  # fmt: skip
    assert service.peak == 500


def test_a_steep_curve_never_makes_more_work_faster() -> None:
    # rate linear in log2: at 2048 B it would be 250 B/s and take 8.19 s, less than the 10.24 s of 1024 B
    service = log_curve({1024: 100, 4096: 400})
    assert service.time(2048) == service.time(1024) == Fraction(1024, 100)


def test_between_points_the_time_follows_the_curve_within_a_tenth_of_a_percent() -> None:
    points = {1 << 16: 10_000, 1 << 24: 26_000}
    service = log_curve(points)
    worst = 0.0
    for x in range(1 << 16, 1 << 24, 99_991):
        rate = 10_000 + 16_000 * (log2(x) - 16) / 8
        worst = max(worst, abs(float(service.time(x)) * rate / x - 1))
    print(f"largest deviation from x / rate(x): {worst:.4%}")
    assert worst < 1e-3


@pytest.mark.parametrize("knots", [[], [0, 5], [5, 5], [9, 4]])
def test_points_must_increase_from_above_zero(knots: list[int]) -> None:
    with pytest.raises(ValueError, match="increase from above zero"):
        Service.of_curve(lambda x: Fraction(1), knots)


@pytest.mark.parametrize("rate", [0, -3])
def test_rates_must_be_positive(rate: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Service(Fraction(rate))
    with pytest.raises(ValueError, match="positive"):
        Service.of_curve(lambda x: Fraction(rate if x > 4 else 1), [4, 8])


@given(curves, st.integers(0, 1 << 32), st.integers(0, 1 << 20))
def test_more_work_takes_no_less_and_nothing_beats_the_peak(service: Service, x: int, more: int) -> None:
    assert service.time(x) <= service.time(x + more)
    assert service.time(x) * service.peak >= x


@given(
    curves,
    st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 300)), min_size=1, max_size=20),
    st.fractions(min_value=Fraction(1, 10**6), max_value=10, max_denominator=10**7),
    st.fractions(min_value=0, max_value=1, max_denominator=10**9),
)
def test_integer_tables_equal_the_rational_formula(
    service: Service, entries: list[tuple[int, int]], factor: Fraction, extra: Fraction
) -> None:
    # keep below 2**63 ticks: the smallest rate is 1 unit a second
    entries = [(x % (1 << 18), times) for x, times in entries] if service.rate(1) < 10**9 else entries
    xs, times = (np.array(column, dtype=np.int64) for column in zip(*entries, strict=True))
    want = [ceil(10**12 * (extra + factor * t * service.time(Fraction(x, t)))) for x, t in entries]
    if max(want) < 2**63:
        assert service.ticks(xs, times=times, factor=factor, extra=extra).tolist() == want


def test_a_result_beyond_64_bits_is_an_error_not_a_wrong_number() -> None:
    with pytest.raises(OverflowError):
        Service(Fraction(1)).ticks(np.array([2**40], dtype=np.int64))
