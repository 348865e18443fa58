"""The expert cache: bytes, claims, pins, trims. Eviction policies only say who is next.

All caches of a run share one `Residency` (arrays over ids = layer * n_experts + expert), so that "is it there?" is one
lookup whatever the scope. The rules are 3, 4 and 13 of `moesim.engine.spec`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moesim.policies.eviction.base import CacheFacts, Eviction

__all__ = ["ABSENT", "LOADING", "PLACED", "RESIDENT", "ExpertCache", "Residency"]

ABSENT, LOADING, RESIDENT, PLACED = 0, 1, 2, 3
"""States of an id: not there; claimed, bytes on their way; there; pinned by placement, outside the caches."""


class Residency:
    """State of every id of a run, shared by its caches."""

    __slots__ = ("by_layer", "evictable", "pinned", "state")

    def __init__(self, n_layers: int, n_experts: int) -> None:
        self.state = bytearray(n_layers * n_experts)
        self.evictable = bytearray(n_layers * n_experts)
        """1 for ids that may leave: resident, not pinned."""
        self.pinned = bytearray(n_layers * n_experts)
        """1 for ids of the current set whose compute has not ended."""
        self.by_layer = [0] * n_layers
        """Experts resident or pinned by placement, by layer."""


class ExpertCache:
    """One cache of `capacity` bytes under one eviction policy.

    `used` counts resident and loading bytes; `evictable_bytes` what could leave now, so that a claim knows before it
    asks for the first victim whether it will succeed.
    """

    __slots__ = (
        "_announces", "_bytes", "_facts", "_n", "_residency", "capacity", "evictable_bytes", "free_slots",
        "overshoot_peak", "policy", "used",
    )  # fmt: skip

    def __init__(
        self, capacity: int, policy: Eviction, facts: CacheFacts, residency: Residency, staging_slots: int = 2
    ) -> None:
        self.capacity = capacity
        self.policy = policy
        self.used = 0
        self.evictable_bytes = 0
        self.overshoot_peak = 0
        self.free_slots = staging_slots
        """Slots outside the capacity, for experts that can never be members."""
        self._facts = facts
        self._residency = residency
        self._bytes: Sequence[int] = facts.expert_bytes
        self._n = facts.n_experts
        self._announces = type(policy).claim is not Eviction.claim
        policy.start(facts)

    def admits(self, layer: int) -> bool:
        """Whether experts of this layer can be members at all."""
        return self.policy.admits and self._bytes[layer] <= self.capacity

    def claim(self, key: int, spare: Iterable[int] = ()) -> list[int] | None:
        """Room for `key`, all or nothing: the victims that left, or None if the bytes cannot be had.

        `spare` are ids that must stay though they are evictable.
        """
        layer = key // self._n
        size = self._bytes[layer]
        need = self.used + size - self.capacity
        victims: list[int] = []
        if need > 0 and not spare:
            if self.evictable_bytes < need:
                return None
            victims = self._evict(need, key - layer * self._n)
        elif need > 0:
            evictable = self._residency.evictable
            spared = [k for k in spare if evictable[k]]
            spared_bytes = 0
            for k in spared:
                evictable[k] = 0
                spared_bytes += self._bytes[k // self._n]
            if self.evictable_bytes - spared_bytes >= need:
                victims = self._evict(need, key - layer * self._n)
                done = True
            else:
                done = False
            for k in spared:
                evictable[k] = 1
            if not done:
                return None
        self.used += size
        self._residency.state[key] = LOADING
        return victims

    def claim_over(self, key: int) -> None:
        """Room for `key` without a victim: the cache may overshoot until the next trim."""
        self.used += self._bytes[key // self._n]
        self._residency.state[key] = LOADING
        self.overshoot_peak = max(self.overshoot_peak, self.used - self.capacity)

    def _evict(self, need: int, expert: int) -> list[int]:
        # `_leave` written out: this runs for nearly every load
        policy, residency, sizes, n = self.policy, self._residency, self._bytes, self._n
        state, evictable, by_layer = residency.state, residency.evictable, residency.by_layer
        if self._announces:
            policy.claim(expert)
        victims = []
        freed = 0
        while freed < need:
            victim = policy.victim(evictable)
            layer = victim // n
            freed += sizes[layer]
            evictable[victim] = 0
            state[victim] = ABSENT
            by_layer[layer] -= 1
            policy.remove(victim)
            victims.append(victim)
        self.used -= freed
        self.evictable_bytes -= freed
        return victims

    def _leave(self, key: int) -> None:
        residency = self._residency
        layer = key // self._n
        residency.evictable[key] = 0
        residency.state[key] = ABSENT
        residency.by_layer[layer] -= 1
        self.used -= self._bytes[layer]
        self.evictable_bytes -= self._bytes[layer]
        self.policy.remove(key)

    def enter(self, key: int, looked_up: bool) -> None:
        """Tell the policy that `key` is a member (demand: right after its claim; prefetch: at its arrival)."""
        self.policy.insert(key, looked_up)

    def arrive(self, key: int) -> None:
        """The bytes of a claimed id are there."""
        residency = self._residency
        layer = key // self._n
        residency.state[key] = RESIDENT
        residency.by_layer[layer] += 1
        if not residency.pinned[key]:
            residency.evictable[key] = 1
            self.evictable_bytes += self._bytes[layer]

    def abandon(self, key: int) -> None:
        """Give back the room of a claimed id whose bytes will not come."""
        self.used -= self._bytes[key // self._n]
        self._residency.state[key] = ABSENT

    def pin(self, key: int) -> None:
        """Keep `key` until `unpin` (the set that is being computed)."""
        residency = self._residency
        residency.pinned[key] = 1
        if residency.evictable[key]:
            residency.evictable[key] = 0
            self.evictable_bytes -= self._bytes[key // self._n]

    def unpin(self, key: int) -> None:
        """The expert's compute has ended."""
        residency = self._residency
        residency.pinned[key] = 0
        if residency.state[key] == RESIDENT:
            residency.evictable[key] = 1
            self.evictable_bytes += self._bytes[key // self._n]

    def trim(self, spare: Iterable[int]) -> list[int]:
        """Evict down to capacity, sparing what is pinned or loading and `spare`; the victims."""
        if self.used <= self.capacity:
            return []
        evictable = self._residency.evictable
        spared = [k for k in spare if evictable[k]]
        for k in spared:
            evictable[k] = 0
        can = self.evictable_bytes - sum(self._bytes[k // self._n] for k in spared)
        victims = self._evict(min(self.used - self.capacity, can), 0)
        for k in spared:
            evictable[k] = 1
        return victims

    def reset(self, members: Iterable[int], initial: Iterable[int]) -> list[int]:
        """Forget everything that is not loading; the `initial` ids enter in order as they fit. Returns who left.

        `members` are all ids that may belong to this cache.
        """
        residency = self._residency
        gone = [k for k in members if residency.state[k] == RESIDENT]
        for key in gone:
            if not residency.evictable[key]:
                residency.evictable[key] = 1
                self.evictable_bytes += self._bytes[key // self._n]
            self._leave(key)
        self.policy.start(self._facts)
        self.fill(initial)
        return gone

    def fill(self, initial: Iterable[int]) -> None:
        """Make ids resident in order, each if it is absent and fits into the free bytes."""
        for key in initial:
            size = self._bytes[key // self._n]
            if self._residency.state[key] == ABSENT and self.used + size <= self.capacity:
                self.used += size
                self.policy.insert(key, False)
                self.arrive(key)
