"""Curves: exact, clamped, and never making more work faster where the points do not."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moesim.hardware.curves import interpolate
from moesim.hardware.sourced import BandwidthNumber, RatioNumber

KNOTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=8, unique=True).map(sorted)


def bandwidth(**fields: object) -> BandwidthNumber:
    return BandwidthNumber.model_validate_json(json.dumps(fields))


def test_linear_between_points_and_clamped_outside() -> None:
    number = bandwidth(curve={"x": ["4 KiB", "8 KiB"], "y": ["1 GB/s", "3 GB/s"]}, source="s")
    assert number.at(6144) == 2 * 10**9  # the middle in bytes; in log2 it would be above
    assert number.at(4097) == 10**9 + Fraction(2 * 10**9, 4096)
    assert (number.at(1), number.at(4096), number.at(8192), number.at(10**12)) == (10**9, 10**9, 3 * 10**9, 3 * 10**9)
    assert number.at() == 3 * 10**9  # without an amount: the largest
    assert number.knots == (4096, 8192)


def test_interval_of_a_curve() -> None:
    points = {"x": [1, 3], "y": ["20 %", "40 %"], "low": ["10 %", "30 %"], "high": ["50 %", "90 %"]}
    number = RatioNumber.model_validate_json(json.dumps({"curve": points, "source": "s"}))
    assert number.at(2) == Fraction(3, 10)
    assert number.interval(2) == (Fraction(1, 5), Fraction(7, 10))
    bare = RatioNumber.model_validate({"curve": {"x": [1, 3], "y": ["20 %", "40 %"]}, "source": "s"})
    assert bare.interval(2) == (Fraction(3, 10), Fraction(3, 10))


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        ({"x": ["8 KiB", "4 KiB"], "y": ["1 GB/s", "2 GB/s"]}, "strictly increasing"),
        ({"x": ["4 KiB", "4096 B"], "y": ["1 GB/s", "2 GB/s"]}, "strictly increasing"),
        ({"x": ["0 B", "4 KiB"], "y": ["1 GB/s", "2 GB/s"]}, "above zero"),
        ({"x": ["4 KiB"], "y": ["1 GB/s", "2 GB/s"]}, "2 points of y"),
        ({"x": ["4 KiB"], "y": ["1 GB/s"], "low": []}, "0 points of low"),
        ({"x": ["4 KiB"], "y": ["1 GB/s"], "low": ["2 GB/s"]}, "outside its interval"),
        ({"x": ["4 KiB"], "y": ["1 GB/s"], "high": ["0.5 GB/s"]}, "outside its interval"),
        ({"x": [], "y": []}, "at least 1 item"),
        ({"x": ["4 KiB"], "y": ["0 GB/s"]}, "more than zero"),
        ({"x": [4096], "y": ["1 GB/s"]}, "bare number"),
        ({"x": ["4 KiB"], "y": ["1 GB/s"], "kind": "log"}, "Extra inputs"),
    ],
)
def test_refused(curve: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        bandwidth(curve=curve, source="s")


@given(KNOTS, st.data())
def test_exact_at_its_points_and_between_them(xs: list[int], data: st.DataObject) -> None:
    ys = [Fraction(data.draw(st.integers(1, 10**12))) for _ in xs]
    assert [interpolate(xs, ys, x) for x in xs] == ys
    x = data.draw(st.integers(0, 2 * 10**9))
    assert min(ys) <= interpolate(xs, ys, x) <= max(ys)


@given(KNOTS, st.data())
def test_more_bytes_never_take_less_time_where_the_points_say_so(xs: list[int], data: st.DataObject) -> None:
    """Times that do not fall at the points do not fall between them: the reason for interpolating in x, not log2(x)."""
    times = sorted(data.draw(st.lists(st.integers(1, 10**9), min_size=len(xs), max_size=len(xs))))
    rates = [Fraction(x, t) for x, t in zip(xs, times, strict=True)]
    a, b = sorted(data.draw(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9))))
    assert a / interpolate(xs, rates, a) <= b / interpolate(xs, rates, b)


def test_octave_points_keep_a_saturating_rate_within_three_percent() -> None:
    xs = [1 << i for i in range(8, 31)]
    rate = lambda x: Fraction(10**9 * x, x + 2_700_000)  # noqa: E731
    worst = max(abs(interpolate(xs, [rate(x) for x in xs], x) / rate(x) - 1) for x in range(300, 1 << 26, 7_777))
    assert Fraction(1, 100) < worst < Fraction(3, 100)
