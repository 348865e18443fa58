"""Storage with parallel lanes (rule 6 of the spec).

Each read takes one lane. What it lasts depends on how many lanes are busy once all picks of the tick are made, and is
not timed again; so reads are started together, in the storage phase of the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from moesim.core.ticks import ceil_div
from moesim.engine.reference.events import Ticks, call_at
from moesim.engine.reference.transfer import Transfer
from moesim.engine.spec import Phase
from moesim.plan.plan import StoragePlan

if TYPE_CHECKING:
    from moesim.engine.reference.host import Host

__all__ = ["Reading", "Storage"]


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
        self._running: dict[int, tuple[int, int, int, Reading]] = {}
        """By lane: start, number of the transfer that queued the read, offset."""

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
            self._running[lane] = (now, number, offset, reading)
            call_at(self._env, end - now, Phase.READ_END, self._ender(lane), number)

    def _ender(self, lane: int) -> Callable[[object], None]:
        def ended(_: object) -> None:
            offset, reading = self._leave(lane, self._env.now, ended=True)
            self._record.bytes_read += reading.sizes[offset]
            self._free.append(lane)
            self._free.sort()
            reading.ended[offset] = True
            reading.unread -= 1
            self._host.read_ended(reading)
            self._kick()

        return ended

    def _leave(self, lane: int, now: int, *, ended: bool) -> tuple[int, Reading]:
        """Book the read that leaves a lane, ended or cut: (offset, reading)."""
        start, number, offset, reading = self._running.pop(lane)
        self._record.storage_busy += now - start
        self._record.slice(
            f"storage {lane}", "read", start, now, self._host.step, reading.layer,
            experts=(reading.key % self._host.n,), transfer=number,
            size=reading.sizes[offset] if ended else 0,
        )  # fmt: skip
        return offset, reading

    def finish(self, now: int) -> None:
        """Book the busy time of reads that the end of the run cuts."""
        for lane in list(self._running):
            self._leave(lane, now, ended=False)
