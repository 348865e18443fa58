"""Time to serve an amount of work on a rate that may depend on that amount: t(x) = x / rate(x), exact and monotone.

A scalar rate r gives t(x) = x / r. A curve gives the same at each of its points; between two points, t is linear in x
on a grid of eight points an octave at which the curve itself is evaluated (off by less than 0.1 % from x / rate(x)),
and each grid time is raised to the largest before it. So more work never takes less time, even where a measured rate
grows faster than the size. Because t is piecewise linear with rational coefficients, whole integer tables can be filled
exactly (`Service.ticks`), and because the grid times lie on or above x / max(rate), nothing beats the highest rate of
the curve.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm

import numpy as np
from numpy.typing import NDArray

from moesim.core.ticks import PS_PER_S

__all__ = ["Service"]

# 256 * 2**(i/8), rounded: the grid inside an octave, in integers so that every machine makes the same one
_OCTAVE = (256, 279, 304, 332, 362, 395, 431, 470)
_INT64_HEADROOM = 1 << 62


def _grid(knots: Sequence[int]) -> list[int]:
    """The knots and eight points an octave between neighbours: strictly increasing positive integers."""
    points = set(knots)
    for low, high in pairwise(knots):
        base = low
        while base < high:
            points.update(x for f in _OCTAVE if (x := base * f // 256) < high)
            base *= 2
    return sorted(points)


class Service:
    """Seconds to serve x units (bytes, rows) at a rate in units per second, a scalar or a function of x.

    t(x) = a_i + b_i x on segment i, the segment with starts[i] <= x < starts[i+1]; t(0) = 0; beyond the last point
    the marginal rate is the rate there. `peak` is the highest rate.
    """

    __slots__ = ("_lines", "_starts", "peak")

    def __init__(self, rate: Fraction) -> None:
        """A constant rate. Raises ValueError if it is not positive."""
        if rate <= 0:
            raise ValueError(f"a rate must be positive: got {rate}")
        self.peak = Fraction(rate)
        self._starts: tuple[int, ...] = (0,)
        self._lines: tuple[tuple[Fraction, Fraction], ...] = ((Fraction(0), 1 / self.peak),)

    @classmethod
    def of_curve(cls, rate: Callable[[int], Fraction], knots: Sequence[int]) -> Service:
        """A rate that depends on the amount. `knots`: where the curve is given; positive, increasing; below the
        first and above the last it is clamped.

        Raises ValueError if knots do not increase from above zero or a rate is not positive.
        """
        if not knots or any(b <= a for a, b in pairwise((0, *knots))):
            raise ValueError(f"the points of a curve must increase from above zero: got {list(knots)}")
        made = cls(Fraction(rate(knots[-1])))
        xs, starts, lines = _grid(knots), [0], []
        x0, t0 = 0, Fraction(0)
        for x in xs:
            r = Fraction(rate(x))
            if r <= 0:
                raise ValueError(f"a rate must be positive: got {r} at {x}")
            made.peak = max(made.peak, r)
            t = max(t0, x / r)
            slope = (t - t0) / (x - x0)
            lines.append((t0 - slope * x0, slope))
            starts.append(x)
            x0, t0 = x, t
        last = 1 / Fraction(rate(knots[-1]))
        lines.append((t0 - last * x0, last))
        # neighbours on one line are one segment: a flat curve is as cheap as a scalar
        keep = [i for i in range(len(lines)) if i == 0 or lines[i] != lines[i - 1]]
        made._starts = tuple(starts[i] for i in keep)
        made._lines = tuple(lines[i] for i in keep)
        return made

    def time(self, x: int | Fraction) -> Fraction:
        """Seconds for x >= 0 units (a Fraction is allowed: the mean rows of an expert)."""
        a, b = self._lines[bisect_right(self._starts, x) - 1]
        return a + b * x

    def rate(self, x: int | Fraction) -> Fraction:
        """x / t(x), units per second; at 0 the rate of the first point."""
        return x / self.time(x) if x else 1 / self._lines[0][1]

    def ticks(
        self,
        x: NDArray[np.int64],
        *,
        times: NDArray[np.int64] | int = 1,
        factor: Fraction = Fraction(1),
        extra: Fraction = Fraction(0),
    ) -> NDArray[np.int64]:
        """ceil(10**12 (extra + factor times t(x / times))) ticks, elementwise and exact.

        x: non-negative totals; times >= 1: over how many equal shares each is spread; factor: seconds per second of
        t; extra: seconds. Integers of 64 bits where they provably suffice, Python integers elsewhere. Raises
        OverflowError if a result exceeds 2**63 - 1 ticks (106 days).
        """
        x, spread = np.broadcast_arrays(np.asarray(x, dtype=np.int64), np.asarray(times, dtype=np.int64))
        segment = np.searchsorted(np.asarray(self._starts, dtype=np.int64), x // spread, side="right") - 1
        out = np.zeros(x.shape, dtype=np.int64)
        for i in np.unique(segment):
            a, b = (line * factor * PS_PER_S for line in self._lines[int(i)])
            e = extra * PS_PER_S
            den = lcm(a.denominator, b.denominator, e.denominator)
            na, nb, ne = (f.numerator * (den // f.denominator) for f in (a, b, e))
            where = segment == i
            xs, us = x[where], spread[where]
            bound = abs(na) * int(us.max()) + nb * int(xs.max()) + ne + den
            if bound < _INT64_HEADROOM:
                out[where] = -(-(na * us + nb * xs + ne) // den)
            else:
                exact = -(-(na * us.astype(object) + nb * xs.astype(object) + ne) // den)
                out[where] = exact.astype(np.int64)
        return out
