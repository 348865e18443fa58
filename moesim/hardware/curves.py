"""A measured curve: y over x by points, evaluated exactly.

Between two points y is linear in x, in rationals; outside the points it is clamped to the nearest one:

    y(x) = y_i + (y_{i+1} - y_i) (x - x_i) / (x_{i+1} - x_i)      for x_i <= x <= x_{i+1}

Linear in x, not in log2(x): for a rate that rises with the amount (copy or read bandwidth over bytes) the time x / y(x)
then never falls where the times at the points do not, whereas a rate linear in log2(x) makes 6 KiB faster than 4 KiB
wherever the rate doubles with the size. And no logarithm is needed, so the result is the same fraction everywhere.
Points an octave apart keep a saturating rate B / (1 + x0 / x) within 3 % of its true value.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from moesim.core.fields import Quantity

__all__ = ["Curve", "Frozen", "interpolate"]

X = TypeVar("X", int, Quantity)
Y = TypeVar("Y", bound=Quantity)


class Frozen(BaseModel):
    """Base of every hardware model: strict, no unknown fields, immutable, keyword only."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def interpolate(xs: Sequence[int], ys: Sequence[Fraction], x: int) -> Fraction:
    """y(x) by the rule above. `xs` increase strictly; both have the same length >= 1.

    >>> interpolate([2, 4], [Fraction(10), Fraction(11)], 3), interpolate([2, 4], [Fraction(10), Fraction(11)], 9)
    (Fraction(21, 2), Fraction(11, 1))
    """
    right = bisect_right(xs, x)
    if right == 0:
        return ys[0]
    if right == len(xs):
        return ys[-1]
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


class Curve(Frozen, Generic[X, Y]):
    """Points of y over x, with an optional interval `low`..`high` at each."""

    # strict=False on the tuples alone: JSON and YAML have lists only
    x: Annotated[tuple[X, ...], Field(min_length=1, strict=False, description="where y is known")]
    y: Annotated[tuple[Y, ...], Field(min_length=1, strict=False, description="the value at each x")]
    low: Annotated[tuple[Y, ...], Field(strict=False)] | None = Field(default=None, description="least credible y")
    high: Annotated[tuple[Y, ...], Field(strict=False)] | None = Field(default=None, description="largest credible y")

    @model_validator(mode="after")
    def _check(self) -> Curve[X, Y]:
        for name, points in (("y", self.y), ("low", self.low), ("high", self.high)):
            if points is not None and len(points) != len(self.x):
                raise _refusal(f"{len(points)} points of {name}", f"{len(self.x)}, as many as of x")
        if self.xs[0] <= 0 or any(b <= a for a, b in pairwise(self.xs)):
            raise _refusal("x that does not increase", "x strictly increasing from above zero")
        for i, y in enumerate(self.y):
            if (self.low and self.low[i].value > y.value) or (self.high and self.high[i].value < y.value):
                raise _refusal(f"{y} outside its interval", "low <= y <= high at each point")
        return self

    @property
    def xs(self) -> tuple[int, ...]:
        """x in SI units (bytes) or counts."""
        return tuple(int(x.value) if isinstance(x, Quantity) else x for x in self.x)

    def at(self, x: int) -> Fraction:
        """y(x) in SI units."""
        return interpolate(self.xs, [y.value for y in self.y], x)

    def interval(self, x: int) -> tuple[Fraction, Fraction]:
        """(low, high) at x in SI units; y(x) itself where none is given."""
        low, high = (self.low or self.y), (self.high or self.y)
        return interpolate(self.xs, [y.value for y in low], x), interpolate(self.xs, [y.value for y in high], x)


def _refusal(got: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError("curve", "got {got}, allowed {allowed}", {"got": got, "allowed": allowed})
