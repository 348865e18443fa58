"""Hits without time: replays sets of experts through the caches, demand loads only.

Same cache, same eviction policies as the engines, so the counts agree with an engine run without prefetch whenever
every set fits into its cache. Then the order of loads within a set is all that is left of time, and `schedule` gives
it. A set that does not fit is served in waves, in an order that an engine's clock decides; here it is taken that the
experts of the set are done in the order hits, then loads, and the result says `approximate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moesim.policies.cache import PLACED, RESIDENT, ExpertCache, Residency
from moesim.policies.eviction import EVICTIONS, CacheFacts, Clock, Eviction
from moesim.policies.eviction.belady import Belady, belady_label
from moesim.policies.next_use import next_use_table
from moesim.policies.schedule import Layerwise, Schedule

__all__ = ["Replay", "cache_layout", "replay"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What a replay counted. R = S * L rows, row = step * L + layer."""

    hits: Ints
    """[R] distinct experts that were there at the lookup of their set."""
    misses: Ints
    """[R]"""
    evictions: int
    bytes_loaded: int
    overshoot_peak: int
    """Largest excess over a cache's capacity, bytes (`after_layer`)."""
    label: str
    """The policy's name; `belady-greedy` where Belady's rule is not the optimum."""
    approximate: bool
    """Some set did not fit: an engine may count otherwise."""

    @property
    def lookups(self) -> int:
        """hits + misses."""
        return int(self.hits.sum() + self.misses.sum())

    @property
    def hit_rate(self) -> float:
        """hits / lookups over all rows; 0 without lookups."""
        return float(self.hits.sum()) / self.lookups if self.lookups else 0.0


def cache_layout(
    capacity: int, scope: Literal["layer", "global"], expert_bytes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """(cache of each layer, capacity of each cache): one for all, or equal shares floor(capacity / MoE layers).

    `capacity` and `expert_bytes` [L] in bytes; layers of 0 bytes have no experts and get cache -1.
    """
    moe = [layer for layer, size in enumerate(expert_bytes) if size > 0]
    if scope == "global":
        return [0 if size > 0 else -1 for size in expert_bytes], [capacity]
    number = {layer: i for i, layer in enumerate(moe)}
    return [number.get(layer, -1) for layer in range(len(expert_bytes))], [capacity // max(len(moe), 1)] * len(moe)


def replay(
    set_ptr: Ints,
    set_expert: NDArray[np.int32],
    *,
    n_experts: int,
    expert_bytes: Sequence[int],
    cache_of_layer: Sequence[int],
    cache_capacity: Sequence[int],
    eviction: str | type[Eviction] = "lru",
    params: Mapping[str, Any] | None = None,
    evict: Literal["on_claim", "after_layer"] = "on_claim",
    reset: Literal["never", "sequence"] = "never",
    step_batch: Sequence[int] | None = None,
    initial: Sequence[int] = (),
    pinned: NDArray[np.bool_] | None = None,
    set_weight: Ints | None = None,
    set_touch: NDArray[np.int32] | None = None,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Replay:
    """Replay S * L sets; row step * L + layer holds entries set_ptr[row] to set_ptr[row + 1] - 1 of `set_expert`.

    n_experts       N: ids are layer * N + expert
    expert_bytes    [L] bytes of one expert
    cache_of_layer  [L] and cache_capacity [C] in bytes, as `cache_layout` makes them
    eviction        kind or class, built with `params` for each cache
    evict, reset    rules 4 and 13 of `moesim.engine.spec`; `reset` goes by `step_batch` [S]
    initial         ids resident at the start, in order of insertion
    pinned          [L, N] always there, outside the caches
    set_weight      [len(set_expert)] for demand orders that go by weight (none: all equal)
    set_touch       [len(set_expert)] the same sets in order of last appearance, in which recency is renewed (none: as
                    `set_expert`; they differ only where tokens of one step share experts)
    schedule        gives the demand order; default: layerwise, by router weight

    Raises ValueError if the sets do not make whole steps, InputError for an unknown eviction kind.
    """
    layers, rows = len(expert_bytes), len(set_ptr) - 1
    if rows % layers:
        raise ValueError(f"{rows} sets do not make whole steps of {layers} layers")
    if reset == "sequence" and step_batch is None:
        raise ValueError("reset per sequence needs step_batch")
    run = _Run(
        expert_bytes=list(expert_bytes),
        n_experts=n_experts,
        scope=list(cache_of_layer),
        capacity=cache_capacity,
        make=lambda: (EVICTIONS.get(eviction) if isinstance(eviction, str) else eviction)(**(params or {})),
        next_use=next_use_table(set_ptr, set_expert, layers, n_experts),
        initial=initial,
        pinned=pinned,
        after_layer=evict == "after_layer",
        schedule=schedule if schedule is not None else Layerwise(),
        seed=seed,
    )
    hits = np.zeros(rows, dtype=np.int64)
    bounds: list[int] = set_ptr.tolist()
    for row in range(rows):
        step, layer = divmod(row, layers)
        if layer == 0 and step and reset == "sequence" and step_batch and step_batch[step] != step_batch[step - 1]:
            run.reset()
        lo, hi = bounds[row], bounds[row + 1]
        if lo < hi:
            weights = [0] * (hi - lo) if set_weight is None else set_weight[lo:hi].tolist()
            experts: list[int] = set_expert[lo:hi].tolist()
            touched = experts if set_touch is None else set_touch[lo:hi].tolist()
            hits[row] = run.look_up(step, layer, experts, touched, weights)
    misses = np.diff(set_ptr) - hits
    label = eviction if isinstance(eviction, str) else eviction.kind
    if label == Belady.kind:
        label = belady_label(expert_bytes, cache_of_layer, evict, not run.approximate)
    return Replay(
        hits=hits,
        misses=misses,
        evictions=run.evictions,
        bytes_loaded=int((misses.reshape(-1, layers).sum(axis=0) * np.asarray(expert_bytes, dtype=np.int64)).sum()),
        overshoot_peak=max((cache.overshoot_peak for cache in run.caches), default=0),
        label=label,
        approximate=run.approximate,
    )


class _Run:
    """Caches and counts of one replay."""

    def __init__(
        self,
        *,
        expert_bytes: list[int],
        n_experts: int,
        scope: list[int],
        capacity: Sequence[int],
        make: Callable[[], Eviction],
        next_use: Callable[[int, int], int],
        initial: Sequence[int],
        pinned: NDArray[np.bool_] | None,
        after_layer: bool,
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.evictions = 0
        self.approximate = False
        self._after_layer = after_layer
        self._schedule = schedule
        self._n = n_experts
        self._residency = Residency(len(expert_bytes), n_experts)
        for key in [] if pinned is None else np.flatnonzero(pinned.ravel()).tolist():
            self._residency.state[key] = PLACED
        self._clock = Clock()
        self.caches: list[ExpertCache] = []
        self._members: list[list[int]] = []
        self._initial: list[list[int]] = []
        for number, size in enumerate(capacity):
            served = [layer for layer, cache in enumerate(scope) if cache == number]
            facts = CacheFacts(
                seed=seed,
                n_layers=len(expert_bytes),
                n_experts=n_experts,
                layer=served[0] if len(served) == 1 else None,
                expert_bytes=expert_bytes,
                clock=self._clock,
                next_use=next_use,
            )
            self.caches.append(ExpertCache(size, make(), facts, self._residency))
            self._members.append([layer * n_experts + e for layer in served for e in range(n_experts)])
            self._initial.append([key for key in initial if scope[key // n_experts] == number])
            self.caches[-1].fill(self._initial[-1])
        self._cache_of = [self.caches[number] if number >= 0 else None for number in scope]

    def look_up(self, step: int, layer: int, experts: list[int], touched: list[int], weights: list[int]) -> int:
        """One set: its hits. Loads what misses at once."""
        cache = self._cache_of[layer]
        if cache is None:
            raise ValueError(f"layer {layer} has experts to look up but no cache")
        self._clock.step, self._clock.layer = step, layer
        state, base = self._residency.state, layer * self._n
        keys = [base + e for e in experts]
        for key in [base + e for e in touched]:
            if state[key] != PLACED:
                cache.policy.lookup(key)
        hits: list[int] = []
        missed: list[int] = []
        placed = 0
        for key in keys:
            there = state[key]
            if there == PLACED:
                placed += 1
            else:
                (hits if there == RESIDENT else missed).append(key)
        if not cache.admits(layer):
            missed = []  # these go through staging slots and leave no trace here
        elif len(missed) > 1:
            missed = self._schedule.demands(missed, dict(zip(keys, weights, strict=True)), {})
        if self._after_layer:
            self._load_over(cache, missed)
            # even a set of hits: the one before may have left an overshoot
            self.evictions += len(cache.trim(keys))
        elif missed:
            self._load(cache, hits, missed)
        return placed + len(hits)

    def _load_over(self, cache: ExpertCache, missed: list[int]) -> None:
        """after_layer: everything enters."""
        for key in missed:
            cache.claim_over(key)
            cache.enter(key, True)
            cache.arrive(key)

    def _load(self, cache: ExpertCache, hits: list[int], missed: list[int]) -> None:
        """on_claim: the whole set is protected while it fits."""
        held = list(hits)
        for key in hits:
            cache.pin(key)
        for key in missed:
            victims = cache.claim(key)
            while victims is None:
                self.approximate = True
                cache.unpin(held.pop(0))
                victims = cache.claim(key)
            self.evictions += len(victims)
            cache.enter(key, True)
            self._residency.pinned[key] = 1
            cache.arrive(key)
            held.append(key)
        for key in held:
            cache.unpin(key)

    def reset(self) -> None:
        """The next batch of sequences finds the initial content."""
        for cache, members, initial in zip(self.caches, self._members, self._initial, strict=True):
            cache.reset(members, initial)
