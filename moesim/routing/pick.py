"""k distinct experts from a stream of draws that may repeat.

Drawing one after another and throwing a draw away when its expert is already there is sampling without replacement
with probabilities proportional to weight (Plackett-Luce order). Most rows find their k distinct experts in a fixed
number of attempts; the others are completed by exact draws from what is left, which has the same distribution and
cannot run on for ever, however skewed the weights are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moesim.routing.alias import U64, scale

__all__ = ["first_distinct", "pick_from_rest"]

Ints = NDArray[np.int64]
_PAIRWISE = 48  # below this many candidates comparing all pairs is faster than sorting


def _repeats(candidates: Ints) -> NDArray[np.bool_]:
    """Marks, in [R, n], every candidate that equals an earlier one of its row."""
    n = candidates.shape[1]
    if n <= _PAIRWISE:
        earlier = np.tri(n, k=-1, dtype=bool)
        return np.asarray(((candidates[:, :, None] == candidates[:, None, :]) & earlier).any(axis=2))
    order = np.argsort(candidates, axis=1, kind="stable")
    ranked = np.take_along_axis(candidates, order, axis=1)
    again = np.zeros(candidates.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return again


def first_distinct(candidates: Ints, wanted: Ints | int) -> tuple[NDArray[np.bool_], Ints]:
    """Which candidates are taken, and how many picks each row still lacks.

    `candidates` [R, n] in the order they were drawn, negative ones count as nothing; `wanted` is how many distinct ones
    each row needs (a number or [R]). Returns (taken [R, n], lacking [R]).
    """
    fresh = ~_repeats(candidates) & (candidates >= 0)
    rank = np.cumsum(fresh, axis=1)
    limit = np.broadcast_to(np.asarray(wanted, dtype=np.int64), (len(candidates),))
    taken = fresh & (rank <= limit[:, None])
    return taken, np.asarray(np.maximum(limit - rank[:, -1], 0))


def pick_from_rest(mass: Ints, chosen: Ints, draw: U64) -> Ints:
    """Fill the open places of rows by exact draws among the experts that the row does not have yet.

    `mass` [R, N] whole-number weights (sum of a row < 2**62), `chosen` [R, k] ids with -1 for open, `draw` [R, k] one
    64-bit draw for each place. Where the rest has no mass, all of the rest are equally likely. Returns [R, k].
    """
    picks = chosen.copy()
    rest = mass.copy()
    rows = np.arange(len(picks))
    inside = np.zeros(mass.shape, dtype=bool)
    for place in range(picks.shape[1]):
        has = picks[:, place] >= 0
        inside[rows[has], picks[has, place]] = True
    for place in range(picks.shape[1]):
        need = np.flatnonzero(picks[:, place] < 0)
        if not len(need):
            continue
        left = np.where(inside[need], 0, rest[need])
        empty = left.sum(axis=1) == 0
        left[empty] = ~inside[need[empty]]
        upto = np.cumsum(left, axis=1)
        point = scale(draw[need, place], upto[:, -1].astype(np.uint64)).astype(np.int64)
        found = (upto <= point[:, None]).sum(axis=1)
        picks[need, place] = found
        inside[need, found] = True
    return picks
