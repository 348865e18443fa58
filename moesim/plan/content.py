"""Popularity of experts, and what follows from it: what placement pins, what a cache holds at the start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesim.model.spec import ModelSpec
from moesim.policies.placement import PLACEMENTS, Placement
from moesim.policies.placement.popular import by_popularity
from moesim.routing.trace import NOT_ROUTED, RoutingTrace
from moesim.scenario.scenario import Scenario

__all__ = ["initial_by_popularity", "initial_by_trace", "pick_counts", "pinned_mask"]

Floats = NDArray[np.float64]


def pick_counts(trace: RoutingTrace, rows: slice, model: ModelSpec) -> Floats:
    """[L, N] how often each expert is picked in `rows` of the trace; -1 where there is no such expert."""
    n = model.n_experts
    counts = np.full((model.n_layers, n), -1.0)
    for at, layer in enumerate(model.moe_layers):
        picks = np.asarray(trace.experts[rows, at, :]).ravel()
        moe = model.layers[layer].moe
        exist = moe.n_experts if moe is not None else 0
        counts[layer, :exist] = np.bincount(picks[picks != NOT_ROUTED], minlength=n)[:exist]
    return counts


def pinned_mask(scenario: Scenario, popularity: Floats, sizes: Sequence[int]) -> NDArray[np.bool_]:
    """[L, N] experts pinned by the scenario's placement."""
    choice = scenario.placement.pinned
    cls = PLACEMENTS.get(choice.kind)
    made: Placement
    if choice.kind == "popular":
        made = cls(nbytes=int(choice.value))  # type: ignore[call-arg, arg-type]
    elif choice.kind == "layers":
        made = cls(layers=choice.value)  # type: ignore[call-arg]
    else:
        made = cls()
    return made.pin(popularity, sizes)


def initial_by_popularity(
    popularity: Floats,
    sizes: Sequence[int],
    pinned: NDArray[np.bool_],
    cache_of: Sequence[int],
    capacity: Sequence[int],
) -> tuple[int, ...]:
    """The most popular experts that fit into each cache, in order of insertion: the most popular last."""
    n = popularity.shape[1]
    left = list(capacity)
    chosen = []
    for key in by_popularity(popularity, sizes):
        layer, expert = divmod(key, n)
        cache = cache_of[layer]
        if not pinned[layer, expert] and left[cache] >= sizes[layer]:
            left[cache] -= sizes[layer]
            chosen.append(key)
    return tuple(reversed(chosen))


def initial_by_trace(picks: NDArray[np.int32], cell: NDArray[np.int64], n_layers: int, n: int) -> tuple[int, ...]:
    """Ids in order of first pick; `cell` [P] is step * n_layers + layer. Caches take them while they fit."""
    keys = (cell % n_layers) * n + picks
    ids, first = np.unique(keys, return_index=True)
    return tuple(int(k) for k in ids[np.argsort(first, kind="stable")])
