"""The rounding rule."""

from __future__ import annotations

from fractions import Fraction

import pytest

from moesim.core.ticks import ceil_div, to_ticks


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0, 0),
        (1, 10**12),
        (Fraction(1, 10**12), 1),
        (Fraction(1, 10**30), 1),  # nothing with a cost is free
        (Fraction(3, 2 * 10**12), 2),
        (Fraction(10**6 * 10**12 + 1, 10**12 * 10**12), 10**6 + 1),  # one part in 1e18 above: no float would see it
    ],
)
def test_seconds_round_up(seconds: Fraction | int, ticks: int) -> None:
    assert to_ticks(seconds) == ticks


def test_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        to_ticks(Fraction(-1, 10**30))


def test_ceil_div_is_exact_beyond_floats() -> None:
    assert (ceil_div(0, 7), ceil_div(7, 7), ceil_div(8, 7), ceil_div(10**30 + 1, 10**15)) == (0, 1, 2, 10**15 + 1)
