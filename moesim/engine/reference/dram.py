"""The DRAM cache between storage and the link (rule 6 of the spec)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from moesim.engine.reference.storage import Reading, Storage
from moesim.engine.reference.transfer import Transfer
from moesim.plan.plan import Plan
from moesim.policies.cache import ABSENT, RESIDENT, ExpertCache, Residency
from moesim.policies.eviction.base import CacheFacts
from moesim.policies.eviction.lru import LRU

if TYPE_CHECKING:
    from moesim.engine.reference.host import Host

__all__ = ["DramTier"]


class DramTier:
    """An LRU cache in host memory between storage and the link. Experts are pinned while somebody copies them."""

    def __init__(self, plan: Plan, host: Host, storage: Storage) -> None:
        self._host = host
        self._storage = storage
        self._chunks = plan.link.chunks if plan.link else 1
        self._sizes: list[int] = plan.expert_bytes.tolist()
        self._residency = Residency(plan.n_layers, plan.n_experts)
        facts = CacheFacts(
            seed=plan.seed, n_layers=plan.n_layers, n_experts=plan.n_experts, layer=None, expert_bytes=self._sizes
        )
        self._cache = ExpertCache(plan.dram_capacity, LRU(), facts, self._residency, 0)
        self._n = plan.n_experts
        self._readings: dict[int, Reading] = {}
        self.waiting: deque[Transfer] = deque()

    def has_room(self, key: int) -> bool:
        """Whether a prefetch of `key` could go on: there, on its way, or claimable now."""
        if self._residency.state[key] != ABSENT:
            return True
        if self.waiting:
            return False
        cache = self._cache
        return cache.capacity - cache.used + cache.evictable_bytes >= self._sizes[key // self._n]

    def ask(self, transfer: Transfer, now: int) -> bool:
        """Bring the expert to the link: at once, when read, or after a wait for DRAM bytes (False, then)."""
        key = transfer.key
        state = self._residency.state[key]
        if state == ABSENT:
            if self.waiting or not self._claim(transfer):
                self.waiting.append(transfer)
                return False
            transfer.admitted = now
            return True
        transfer.admitted = now
        self._cache.policy.lookup(key)
        self._cache.pin(key)
        if state == RESIDENT:
            transfer.ready, transfer.in_dram = self._chunks, now
            self._host.join_link(transfer, now)
        else:
            reading = self._readings[key]
            reading.transfer = transfer
            transfer.ready = reading.ready
            if reading.ready:
                self._host.join_link(transfer, now)
        return True

    def _claim(self, transfer: Transfer) -> bool:
        key = transfer.key
        if self._cache.claim(key) is None:
            return False
        self._cache.policy.lookup(key)
        self._cache.pin(key)
        self._readings[key] = self._storage.submit(transfer)
        return True

    def retry(self, now: int) -> None:
        """Loads that wait for DRAM bytes try again, in order."""
        while self.waiting and self._residency.state[self.waiting[0].key] == ABSENT and self._claim(self.waiting[0]):
            self.waiting.popleft().admitted = now

    def read_ended(self, reading: Reading, now: int) -> None:
        """One more read of an expert has ended."""
        key = reading.key
        ready = reading.chunks_ready(self._chunks, self._sizes[reading.layer])
        transfer = reading.transfer
        if ready > reading.ready:
            reading.ready = ready
            if transfer is not None:
                transfer.ready = ready
                if ready == self._chunks:
                    transfer.in_dram = now
                self._host.join_link(transfer, now)
        if reading.unread == 0:
            del self._readings[key]
            self._cache.arrive(key)
            if transfer is None:
                self._cache.unpin(key)

    def release(self, transfer: Transfer) -> None:
        """The copy has ended or was cancelled: the expert may leave DRAM once it is complete."""
        reading = self._readings.get(transfer.key)
        if reading is not None and reading.transfer is transfer:
            reading.transfer = None
        else:
            self._cache.unpin(transfer.key)
