"""Storage with parallel lanes, and the DRAM cache in front of the link (rule 6 of the spec).

Each read takes one lane. What it lasts depends on how many lanes are busy once all picks of the tick are made, and is
not timed again; so reads are started together, in the storage phase of the tick.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from moesim.core.ticks import ceil_div
from moesim.engine.reference.events import Ticks, call_at
from moesim.engine.reference.transfer import Transfer
from moesim.engine.spec import Phase
from moesim.plan.plan import Plan, StoragePlan
from moesim.policies.cache import ABSENT, RESIDENT, ExpertCache, Residency
from moesim.policies.eviction.base import CacheFacts
from moesim.policies.eviction.lru import LRU

if TYPE_CHECKING:
    from moesim.engine.reference.host import Host

__all__ = ["DramTier", "Reading", "Storage"]


class Reading:
    """The reads that bring one expert from storage."""

    __slots__ = ("ended", "ends", "key", "layer", "ready", "sizes", "transfer", "unread")

    def __init__(self, transfer: Transfer, sizes: tuple[int, ...], ends: tuple[int, ...]) -> None:
        self.transfer: Transfer | None = transfer
        """Who waits for it; None once that was cancelled."""
        self.key, self.layer = transfer.key, transfer.layer
        self.sizes, self.ends = sizes, ends
        self.ended = [False] * len(sizes)
        self.unread = len(sizes)
        self.ready = 0
        """Chunks that are in DRAM."""

    @property
    def demanded(self) -> bool:
        """Whether a transfer that was looked up waits for it."""
        return self.transfer is not None and self.transfer.used

    def chunks_ready(self, chunks: int, size: int) -> int:
        """How many leading chunks lie wholly within reads that have ended."""
        covered = 0
        for done, end in zip(self.ended, self.ends, strict=True):
            if not done:
                break
            covered = end
        ready = self.ready
        while ready < chunks and ceil_div((ready + 1) * size, chunks) <= covered:
            ready += 1
        return ready


class Storage:
    """`lanes` servers over one queue of reads."""

    def __init__(self, env: Ticks, plan: StoragePlan, host: Host) -> None:
        self._env = env
        self._plan = plan
        self._host = host
        self._record = host.record
        self._queue: list[tuple[int, int, Reading]] = []
        self._free = list(range(plan.lanes))
        self._picking = False
        self._running: dict[int, tuple[int, Transfer | None]] = {}

    def submit(self, transfer: Transfer) -> Reading:
        """Queue all reads of an expert."""
        layer = transfer.layer
        reading = Reading(transfer, self._plan.read_sizes[layer], self._plan.read_ends[layer])
        for offset in range(len(reading.sizes)):
            heappush(self._queue, (transfer.number, offset, reading))
        self._kick()
        return reading

    def _kick(self) -> None:
        if self._queue and self._free and not self._picking:
            self._picking = True
            call_at(self._env, 0, Phase.STORAGE_PICK, self._pick)

    def _next(self) -> tuple[int, int, Reading]:
        """Take the next read out of the queue: by number; under two_level those that a demand waits for come first."""
        if not self._host.two_level:
            return heappop(self._queue)
        best = min(self._queue, key=lambda entry: (not entry[2].demanded, entry[0], entry[1]))
        self._queue.remove(best)
        return best

    def _pick(self, _: object) -> None:
        self._picking = False
        now = self._env.now
        started = []
        while self._queue and self._free:
            number, offset, reading = self._next()
            started.append((number, offset, reading, self._free.pop(0)))
        busy = self._plan.lanes - len(self._free)
        for number, offset, reading, lane in started:
            size = reading.sizes[offset]
            end = now + self._plan.read_ps[size][busy]
            self._running[lane] = (now, reading.transfer)
            call_at(self._env, end - now, Phase.READ_END, self._ender(reading, offset, lane, number, now), number)

    def _ender(self, reading: Reading, offset: int, lane: int, number: int, start: int):  # type: ignore[no-untyped-def]
        def ended(_: object) -> None:
            now = self._env.now
            record = self._record
            record.storage_busy += now - start
            record.bytes_read += reading.sizes[offset]
            del self._running[lane]
            self._free.append(lane)
            self._free.sort()
            reading.ended[offset] = True
            reading.unread -= 1
            record.slice(
                f"storage {lane}", "read", start, now, self._host.step, reading.layer,
                experts=(reading.key % self._host.n,), transfer=number, size=reading.sizes[offset],
            )  # fmt: skip
            self._host.read_ended(reading)
            self._kick()

        return ended

    def finish(self, now: int) -> None:
        """Book the busy time of reads that the end of the run cuts."""
        for lane, (start, transfer) in self._running.items():
            self._record.storage_busy += now - start
            if transfer is not None:
                self._record.slice(
                    f"storage {lane}", "read", start, now, self._host.step, transfer.layer, experts=(transfer.expert,)
                )


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
