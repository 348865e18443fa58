"""Fewer points for the page, and a sentence that says so."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT", "buckets", "extremes", "mean"]

LIMIT: Final = 50_000
"""Points of one line up to which nothing is left out."""


def extremes(values: NDArray[np.float64], limit: int = LIMIT) -> NDArray[np.int64]:
    """Positions to draw of a line [n]: all, or of each of limit / 2 stretches the lowest and the highest point.

    Extremes survive, so a decimated latency plot still shows every outlier of its scale.
    """
    n = len(values)
    if n <= limit:
        return np.arange(n)
    keep = []
    for begin, end in zip(*buckets(n, limit // 2), strict=True):
        part = values[begin:end]
        keep += sorted({begin + int(part.argmin()), begin + int(part.argmax())})
    return np.array(keep, dtype=np.int64)


def buckets(n: int, limit: int) -> tuple[list[int], list[int]]:
    """Begins and ends of at most `limit` stretches of equal length (to one) that cover n positions."""
    edges = [i * n // min(n, limit) for i in range(min(n, limit) + 1)] if n else [0]
    return edges[:-1], edges[1:]


def mean(values: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    """Means over the stretches of `buckets` along the first axis."""
    begins, ends = buckets(len(values), limit)
    if not begins:
        return values
    sums = np.add.reduceat(values, begins, axis=0)
    lengths = np.subtract(ends, begins)
    return np.asarray(sums / lengths.reshape(-1, *[1] * (values.ndim - 1)))
