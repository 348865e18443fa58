"""Alias tables in integers: one draw from a discrete distribution costs one multiplication and one comparison.

Walker's method as Vose built it ("A linear algorithm for generating random numbers with a given distribution", IEEE
Trans. Software Eng. 17(9), 1991), with whole-number weights throughout, so that the table is exact and the same on
every machine: outcome i has probability ``w_i / sum(w)`` up to the 2**-64 grain of a draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["AliasTables", "scale"]

U64 = NDArray[np.uint64]
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def scale(draw: U64, bound: U64 | int) -> U64:
    """``floor(draw * bound / 2**64)``: a uniform 64-bit draw brought to [0, bound), bound < 2**63, without overflow.

    >>> [int(x) for x in scale(np.array([0, 2**63, 2**64 - 1], dtype=np.uint64), 10)]
    [0, 5, 9]
    """
    factor = np.asarray(bound, dtype=np.uint64)
    high, low = draw >> _HALF, draw & _LOW
    f_high, f_low = factor >> _HALF, factor & _LOW
    middle = high * f_low + ((low * f_low) >> _HALF)
    if not f_high.any():
        return np.asarray(middle >> _HALF)
    cross = low * f_high + (middle & _LOW)
    return np.asarray(high * f_high + (middle >> _HALF) + (cross >> _HALF))


class AliasTables:
    """R alias tables of n outcomes each, drawn from together.

    Built from whole-number weights [R, n] (at least one positive in each row; n * sum < 2**62). A column holds
    sum(w) units of outcome mass: its own outcome below `limit`, the alias above.
    """

    def __init__(self, weights: Sequence[Sequence[int]] | NDArray[np.int64]) -> None:
        rows = [[int(w) for w in row] for row in weights]
        n = len(rows[0]) if rows else 0
        totals = [sum(row) for row in rows]
        if not n or any(len(row) != n or min(row) < 0 or not total for row, total in zip(rows, totals, strict=True)):
            raise ValueError("alias tables need rows of equal length with whole weights >= 0, one at least positive")
        if n * max(totals) >= 1 << 62:
            raise ValueError("the weights of an alias table are too large: n * sum must stay below 2**62")
        self.outcomes = n
        self.total = np.array(totals, dtype=np.uint64)
        self.limit = np.zeros((len(rows), n), dtype=np.uint64)
        self.alias = np.zeros((len(rows), n), dtype=np.int64)
        for r, (row, total) in enumerate(zip(rows, totals, strict=True)):
            self.limit[r], self.alias[r] = _vose(row, total)

    def pick(self, draw: U64, row: NDArray[np.int64] | int = 0) -> NDArray[np.int64]:
        """The outcomes of 64-bit draws from the tables `row` (broadcast against `draw`)."""
        total = self.total[row]
        point = scale(draw, total * np.uint64(self.outcomes))
        column = point // total
        rest = point - column * total
        place = column.astype(np.int64) + np.asarray(row, dtype=np.int64) * self.outcomes
        own = rest < self.limit.reshape(-1)[place]
        return np.where(own, column.astype(np.int64), self.alias.reshape(-1)[place])


def _vose(weights: list[int], total: int) -> tuple[list[int], list[int]]:
    """Limits and aliases of one table: outcome i brings n * w_i units, each column takes `total` of them."""
    n = len(weights)
    left = [w * n for w in weights]
    limit, alias = [total] * n, list(range(n))
    small = [i for i in range(n) if left[i] < total]
    large = [i for i in range(n) if left[i] >= total]
    while small:
        lesser, greater = small.pop(), large[-1]
        limit[lesser], alias[lesser] = left[lesser], greater
        left[greater] -= total - left[lesser]
        if left[greater] < total:
            large.pop()
            small.append(greater)
    return limit, alias
