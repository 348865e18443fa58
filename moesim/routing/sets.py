"""From picks to sets: a layer loads and computes each expert once, however many of a step's tokens picked it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DistinctSets", "distinct_sets"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DistinctSets:
    """The distinct experts of each of m steps, one after another (compressed rows).

    set_ptr     [m+1] int64; the set of step i is entries set_ptr[i] to set_ptr[i+1] - 1
    set_expert  [d] int32; ids in order of first appearance among the step's picks (token-major)
    set_touch   [d] int32; the same sets in order of last appearance, in which a cache renews their recency
    set_pairs   [d] int32; how many (token, expert) pairs of the step chose this expert
    set_weight  [d] int64; the largest of those pairs' weights (0 throughout if there are none)
    """

    set_ptr: NDArray[np.int64]
    set_expert: NDArray[np.int32]
    set_touch: NDArray[np.int32]
    set_pairs: NDArray[np.int32]
    set_weight: NDArray[np.int64]


def distinct_sets(
    picks: NDArray[np.integer[Any]], weights: NDArray[np.int64] | None, ptr: NDArray[np.int64]
) -> DistinctSets:
    """The sets of many steps at once.

    `picks` [n] holds expert ids, token-major within each step, with -1 for "not routed" (dropped); `weights` [n] are
    fixed-point router weights or None; step i owns picks ptr[i] to ptr[i+1] - 1, and ptr [m+1] covers all picks.
    Raises ValueError if the lengths disagree.
    """
    n, steps = len(picks), len(ptr) - 1
    if steps < 0 or ptr[0] != 0 or ptr[-1] != n or (weights is not None and len(weights) != n):
        raise ValueError(f"ptr must run from 0 to the {n} picks and weights must match them")
    lengths = np.diff(ptr)
    if (lengths < 0).any():
        raise ValueError("ptr must not fall")
    ids = np.asarray(picks, dtype=np.int64)
    routed = ids >= 0
    step = np.repeat(np.arange(steps, dtype=np.int64), lengths)[routed]
    ids = ids[routed]
    span = int(ids.max(initial=0)) + 1
    key = step * span + ids
    # a stable sort keeps equal keys in order of appearance, so that the head of each run is the first pick
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    head = np.ones(len(key), dtype=bool)
    head[1:] = ranked[1:] != ranked[:-1]
    starts = np.flatnonzero(head)
    pairs = np.diff(np.append(starts, len(key)))
    if weights is None or not len(starts):
        largest = np.zeros(len(starts), dtype=np.int64)
    else:
        largest = np.maximum.reduceat(np.asarray(weights, dtype=np.int64)[routed][order], starts)
    # runs come out sorted by id; put them back into the order of their first picks (unique, so a scatter does it)
    firsts = order[starts]
    run_of = np.full(len(key), -1, dtype=np.int64)
    run_of[firsts] = np.arange(len(starts))
    runs = run_of[run_of >= 0]
    first_of_run = firsts[runs]
    counts = np.bincount(step[first_of_run], minlength=steps) if steps else np.zeros(0, dtype=np.int64)
    # the same scatter by last picks; both orders keep the steps together
    run_of[:] = -1
    run_of[order[np.append(starts, len(key))[1:] - 1]] = np.arange(len(starts))
    lasts = firsts[run_of[run_of >= 0]]
    return DistinctSets(
        set_ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        set_expert=ids[first_of_run].astype(np.int32),
        set_touch=ids[lasts].astype(np.int32),
        set_pairs=pairs[runs].astype(np.int32),
        set_weight=largest[runs],
    )
