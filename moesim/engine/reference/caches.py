"""Where experts can be on the device: caches, the slots of those that never enter one, prefetch staging.

Rules 3, 4, 8 and 13 of `moesim.engine.spec`. Everything here is instantaneous; time is the business of others.
"""

from __future__ import annotations

from collections.abc import Collection, Container

import numpy as np

from moesim.engine.reference.record import Recorder
from moesim.engine.reference.transfer import LayerSet
from moesim.plan.plan import Plan
from moesim.policies.cache import PLACED, RESIDENT, ExpertCache, Residency
from moesim.policies.eviction import EVICTIONS, CacheFacts, Clock
from moesim.policies.next_use import next_use_table

__all__ = ["DeviceMemory"]


class DeviceMemory:
    """All places of experts on the device, and what eviction and waste cost."""

    def __init__(self, plan: Plan, record: Recorder) -> None:
        self.plan = plan
        self.record = record
        self.n = plan.n_experts
        self.sizes: list[int] = plan.expert_bytes.tolist()
        self.evict_cost: list[int] = plan.evict_overhead_ps.tolist()
        self.after_layer = plan.evict == "after_layer"
        self.residency = Residency(plan.n_layers, plan.n_experts)
        self.state = self.residency.state
        self.clock = Clock()
        self.unused: set[int] = set()
        """Resident by prefetch, never looked up."""
        self.slots: set[int] = set()
        """In a staging slot of its cache: an expert that never becomes a member."""
        self.staging: dict[int, int] = {}
        """In prefetch staging, complete: id -> target position; -1 once it was looked up."""
        self.free_staging = plan.prefetch_slots
        self.unpaid: dict[int, int] = {}
        """Overhead that the first group using the id will pay (overhead_on stream)."""
        self._overhead_on = plan.overhead_on
        self.load_cost: list[int] = plan.load_overhead_ps.tolist()
        self.placed: list[bool] = [bool(row.any()) for row in plan.pinned]
        """[L] whether any expert of the layer is pinned by placement."""
        for key in np.flatnonzero(plan.pinned.ravel()).tolist():
            self.state[key] = PLACED
            self.residency.by_layer[key // self.n] += 1
        # a policy from a script may want the future, too
        reads_future = plan.eviction.kind == "belady" or plan.eviction.make is not None
        next_use = next_use_table(plan.set_ptr, plan.set_expert, plan.n_layers, self.n) if reads_future else None
        self.caches: list[ExpertCache] = []
        scope = plan.cache_of_layer.tolist()
        for number, capacity in enumerate(plan.cache_capacity.tolist()):
            members = [layer for layer, c in enumerate(scope) if c == number]
            facts = CacheFacts(
                seed=plan.seed,
                n_layers=plan.n_layers,
                n_experts=plan.n_experts,
                layer=members[0] if len(members) == 1 else None,
                expert_bytes=self.sizes,
                clock=self.clock,
                next_use=next_use,
            )
            policy = plan.eviction.new(EVICTIONS)
            self.caches.append(ExpertCache(capacity, policy, facts, self.residency, plan.staging_slots))
        self.cache_of = [self.caches[c] if c >= 0 else None for c in scope]
        self.admits = [cache is not None and cache.admits(layer) for layer, cache in enumerate(self.cache_of)]
        """[L] whether experts of the layer can be members of its cache at all."""
        self._initial = [
            [k for k in plan.initial if scope[k // self.n] == number and not plan.pinned.flat[k]]
            for number in range(len(self.caches))
        ]
        for cache, initial in zip(self.caches, self._initial, strict=True):
            cache.fill(initial)

    def is_there(self, key: int) -> bool:
        """On the device: resident, pinned by placement, complete in prefetch staging, or in a slot for its set."""
        return self.state[key] >= RESIDENT or key in self.staging or key in self.slots

    def _left(self, victims: list[int]) -> int:
        """Book what victims cost: evictions, waste; the overhead they cause."""
        self.record.evictions += len(victims)
        cost = 0
        for victim in victims:
            if victim in self.unused or victim in self.unpaid:
                self._forget(victim)
            cost += self.evict_cost[victim // self.n]
        return cost

    def _forget(self, key: int) -> None:
        self.unpaid.pop(key, None)
        if key in self.unused:
            self.unused.discard(key)
            self.record.bytes_wasted += self.sizes[key // self.n]

    def claim_demand(self, key: int, layer: int) -> int | None:
        """Room for a demanded expert: overhead of the load in ticks, or None if it must wait. Pins it."""
        cache = self.cache_of[layer]
        assert cache is not None  # only MoE layers are looked up
        cost = self.load_cost[layer]
        if not self.admits[layer]:
            if cache.free_slots == 0:
                return None
            cache.free_slots -= 1
            self.slots.add(key)
            return self.charge(key, cost)
        if self.after_layer:
            cache.claim_over(key)
        else:
            victims = cache.claim(key)
            if victims is None:
                return None
            if victims:
                cost += self._left(victims)
        cache.policy.insert(key, True)
        self.residency.pinned[key] = 1
        return self.charge(key, cost) if cost else 0

    def charge(self, key: int, cost: int) -> int:
        """Under `stream` the first group pays; else the caller."""
        if cost and self._overhead_on == "stream":
            self.unpaid[key] = self.unpaid.get(key, 0) + cost
            return 0
        return cost

    def claim_prefetch(self, key: int, layer: int, current: LayerSet | None) -> int | None:
        """Room in the cache for a prefetch: overhead in ticks, or None if it must be dropped."""
        cache = self.cache_of[layer]
        if cache is None or not self.admits[layer]:
            return None
        spares = self.after_layer and current is not None and self.cache_of[current.layer] is cache
        victims = cache.claim(key, current.keys if spares and current is not None else ())
        if victims is None:
            return None
        cost = self.load_cost[layer] + (self._left(victims) if victims else 0)
        return self.charge(key, cost) if cost else 0

    def move_in(self, key: int, layer: int) -> bool:
        """A complete, demanded expert moves from prefetch staging into its cache, if that can be claimed."""
        cache = self.cache_of[layer]
        assert cache is not None
        if not self.admits[layer]:
            return False
        if self.after_layer:
            cache.claim_over(key)
            victims: list[int] | None = []
        else:
            victims = cache.claim(key)
        if victims is None:
            return False
        self.charge(key, self._left(victims))
        cache.enter(key, True)
        self.residency.pinned[key] = 1
        cache.arrive(key)
        return True

    def release(self, keys: list[int], layer: int) -> None:
        """The compute of these experts has ended."""
        cache = self.cache_of[layer]
        assert cache is not None
        state, pinned, evictable = self.state, self.residency.pinned, self.residency.evictable
        size = self.sizes[layer]
        for key in keys:
            if state[key] == RESIDENT:
                # `cache.unpin` written out: this runs for every lookup
                pinned[key] = 0
                evictable[key] = 1
                cache.evictable_bytes += size
            elif key in self.slots:
                self.slots.discard(key)
                cache.free_slots += 1
            elif key in self.staging:
                del self.staging[key]
                self.free_staging += 1

    def free_passed(self, target: int, selected: Collection[int]) -> None:
        """Staging slots of complete experts meant for `target` or before that were not selected become free."""
        for key in [k for k, t in self.staging.items() if 0 <= t <= target and k not in selected]:
            self.free_slot(key)

    def free_slot(self, key: int) -> None:
        """Throw an unused expert out of prefetch staging."""
        del self.staging[key]
        self.free_staging += 1
        self.unpaid.pop(key, None)
        self.record.bytes_wasted += self.sizes[key // self.n]

    def trim(self, layer: int, spare: list[int]) -> int:
        """after_layer: evict what overshoots; the overhead of the victims in ticks."""
        cache = self.cache_of[layer]
        assert cache is not None
        return self._left(cache.trim(spare))

    def reset(self, coming: Container[int]) -> None:
        """A new batch of sequences finds the initial content, as far as it is not on its way already (`coming`)."""
        n, layers = self.n, range(self.plan.n_layers)
        for cache, initial in zip(self.caches, self._initial, strict=True):
            members = [layer * n + e for layer in layers if self.cache_of[layer] is cache for e in range(n)]
            for key in cache.reset(members, [k for k in initial if k not in coming]):
                self._forget(key)
        for key in list(self.staging):
            self.free_slot(key)

    def finish(self) -> None:
        """Book what was brought and never used."""
        for key in [*self.unused]:
            self._forget(key)
        for key, target in self.staging.items():
            if target >= 0:
                self.record.bytes_wasted += self.sizes[key // self.n]
        self.record.overshoot_peak = max((cache.overshoot_peak for cache in self.caches), default=0)
