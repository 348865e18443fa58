"""Small caches for tests of policies: `small_cache`, and `replay_one` for traces of single objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from moesim.policies.cache import ExpertCache, Residency
from moesim.policies.eviction import EVICTIONS, CacheFacts, Clock, Eviction
from moesim.policies.replay import Replay, replay

__all__ = ["facts_of", "replay_one", "small_cache"]


def facts_of(
    *, sizes: Sequence[int] = (1,), n_experts: int = 8, layer: int | None = None, seed: int = 0, next_use: Any = None
) -> CacheFacts:
    """Facts of a cache; without `next_use` no id is ever used again."""
    return CacheFacts(
        seed=seed,
        n_layers=len(sizes),
        n_experts=n_experts,
        layer=layer,
        expert_bytes=list(sizes),
        clock=Clock(),
        next_use=next_use or (lambda key, now: 10**9),
    )


def small_cache(kind: str | Eviction, capacity: int, **facts: Any) -> tuple[ExpertCache, Residency, CacheFacts]:
    """A cache over all layers, with what it needs."""
    made = facts_of(**facts)
    residency = Residency(made.n_layers, made.n_experts)
    policy = EVICTIONS.get(kind)() if isinstance(kind, str) else kind
    return ExpertCache(capacity, policy, made, residency), residency, made


def replay_one(objects: Sequence[int], capacity: int, eviction: str, **options: Any) -> Replay:
    """Objects asked for one at a time: one layer of sets of one expert, of one byte each."""
    return replay(
        np.arange(len(objects) + 1),
        np.array(objects, dtype=np.int32),
        n_experts=max(objects, default=0) + 1,
        expert_bytes=[1],
        cache_of_layer=[0],
        cache_capacity=[capacity],
        eviction=eviction,
        **options,
    )
