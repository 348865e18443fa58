"""LRU hit rates of a trace at every capacity at once, from reuse distances.

With one cache for each layer, equal slots, and a token's set decided as a whole, an LRU cache of m >= k slots holds
the m most recent experts, whatever m is (inclusion property). So a pick hits at every capacity above its reuse
distance: the number of other experts that were used more recently (Mattson et al., "Evaluation techniques for storage
hierarchies", IBM Systems J. 9(2), 1970). Used to fit and to judge profiles; an engine's counts equal these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moesim.routing.trace import RoutingTrace

__all__ = ["hit_rates", "reuse_counts", "reuse_counts_of"]


def reuse_counts(
    picks: NDArray[np.int64], lengths: NDArray[np.int64], n_experts: int, *, count_from: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of reuse distances of sequences that each begin with an empty cache.

    `picks` [sum(lengths), L, k], -1 for not routed. Returns (counts [L, N] by distance 0 to N-1, lookups [L]); first
    uses are in the lookups alone. Within a token later picks are the more recent. Tokens before number `count_from` of
    each sequence warm the caches and are not counted.
    """
    layers, top_k = picks.shape[1:]
    begin = np.concatenate([[0], np.cumsum(lengths)])
    last = np.full((len(lengths), layers, n_experts), -1, dtype=np.int32)
    counts = np.zeros((layers, n_experts), dtype=np.int64)
    lookups = np.zeros(layers, dtype=np.int64)
    layer = np.arange(layers)[:, None]
    for t in range(int(lengths.max(initial=0))):
        now = np.flatnonzero(lengths > t)
        chosen = picks[begin[now] + t]
        stamps = last[now]
        if t >= count_from:
            mine = np.take_along_axis(stamps, np.maximum(chosen, 0), axis=2)
            depth = (stamps[:, :, None, :] > mine[:, :, :, None]).sum(axis=3)
            known = (mine >= 0) & (chosen >= 0)
            place = (layer * n_experts + depth)[known]
            counts += np.bincount(place, minlength=layers * n_experts).reshape(layers, n_experts)
            lookups += (chosen >= 0).sum(axis=(0, 2))
        s, la, slot = np.nonzero(chosen >= 0)
        last[now[s], la, chosen[s, la, slot]] = t * top_k + slot
    return counts, lookups


def reuse_counts_of(trace: RoutingTrace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`reuse_counts` of a trace, its sequences each starting cold and visited one token at a time."""
    picks = np.asarray(trace.experts, dtype=np.int64)
    return reuse_counts(picks, np.diff(trace.sequence_ptr), trace.n_experts)


def hit_rates(counts: NDArray[np.int64], lookups: NDArray[np.int64]) -> NDArray[np.float64]:
    """LRU hit rate over all layers at m = 1 to N slots for each layer, [N]; meaningful from m = k on."""
    return np.asarray(np.cumsum(counts.sum(axis=0)) / lookups.sum())
