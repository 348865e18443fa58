"""The FIFO link with everything in DRAM: ends are computed when a copy joins, and cost no event.

On a copy stream nobody overtakes and nobody is preempted, so the end of a copy is known the moment it is issued.
Arrivals are worked off in order (`settle`) before anything else looks at the device; a SimPy event exists only when the
stream waits for one. `moesim.engine.reference.queued_link` is the same link as a process, for everything else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from moesim.core.ticks import ceil_div
from moesim.engine.reference.transfer import Transfer
from moesim.plan.plan import LinkPlan
from moesim.policies.cache import RESIDENT

if TYPE_CHECKING:
    from moesim.engine.reference.host import Host

__all__ = ["ComputedLink", "pieces_begun"]


def pieces_begun(plan: LinkPlan) -> list[int]:
    """[chunks + 1] pieces (matrices) that have begun once chunk i has ended: ceil(i * pieces / chunks)."""
    return [ceil_div(i * plan.pieces, plan.chunks) for i in range(plan.chunks + 1)]


class ComputedLink:
    """path link, discipline fifo."""

    def __init__(self, plan: LinkPlan, host: Host) -> None:
        self._plan = plan
        self._host = host
        self._record = host.record
        self._transfer_ps = plan.transfer_ps
        self._loop = plan.method == "loop"
        self._t0 = plan.copy_overhead_ps * (plan.pieces if self._loop else 1)
        self.copies: deque[Transfer] = deque()
        """Not ended when last settled, in order."""
        self._free_at = 0
        self._joined = self._busy = 0
        self._inflight = host.inflight
        memory, residency = host.memory, host.memory.residency
        self._slots, self._unused, self._cache_of = memory.slots, memory.unused, memory.cache_of
        self._state, self._pinned = residency.state, residency.pinned
        self._evictable, self._by_layer = residency.evictable, residency.by_layer

    def join(self, transfer: Transfer, at: int) -> None:
        """A copy joins the queue at tick `at` (not before the joins that came earlier)."""
        start = max(at, self._free_at)
        end = start + self._transfer_ps[transfer.layer] + transfer.overhead
        if self._loop:
            end += self._t0
        elif not transfer.group.paid:
            end += self._t0
            transfer.group.paid = True
        transfer.admitted = transfer.in_dram = at
        transfer.start = start
        transfer.end = end
        self._free_at = end
        self._joined += 1
        self._busy += end - start
        self.copies.append(transfer)

    def settle(self, now: int) -> None:
        """Work off all arrivals up to `now`. Loads that wait for bytes try again at the very tick of an arrival."""
        copies, host, record = self.copies, self._host, self._record
        while copies and copies[0].end <= now:
            transfer = copies.popleft()
            end, key = transfer.end, transfer.key
            if record.recording:
                self._draw(transfer, end, transfer.size)
            if transfer.staged or key in self._slots:
                host.arrive(transfer, end)
            else:
                # `host.arrive` written out for what goes into the cache: this runs for nearly every load
                layer, size = transfer.layer, transfer.size
                del self._inflight[key]
                record.arrived_bytes += size
                self._state[key] = RESIDENT
                self._by_layer[layer] += 1
                if not transfer.entered:
                    self._cache_of[layer].policy.insert(key, transfer.used)  # type: ignore[union-attr]
                if not self._pinned[key]:
                    self._evictable[key] = 1
                    self._cache_of[layer].evictable_bytes += size  # type: ignore[union-attr]
                if not transfer.used:
                    self._unused.add(key)
                current = host.current
                if current is not None and key in current.pending:
                    current.pending.discard(key)
                    current.ready.append(key)
                    current.arrivals = [transfer]
            if host.waiting and end < now:
                host.retry(end)

    def next_end(self, keys: set[int], last: bool) -> int | None:
        """Tick of the first (or last) arrival among `keys`; None if none of them is on its way."""
        for copy in reversed(self.copies) if last else self.copies:
            if copy.key in keys:
                return copy.end
        return None

    def next_any(self) -> int | None:
        """Tick of the next arrival."""
        return self.copies[0].end if self.copies else None

    def backlog_ps(self, now: int) -> int:
        """Ticks until the link has nothing to do."""
        return max(0, self._free_at - now)

    def finish(self, now: int) -> None:
        """Book all that was moved, also of the copy that the end of the run cuts."""
        record = self._record
        record.loads = self._joined - len(self.copies)
        record.bytes_loaded = sum(record.step_bytes) + record.arrived_bytes
        record.link_busy = self._busy - sum(copy.end - copy.start for copy in self.copies)
        if not self.copies or self.copies[0].start >= now:
            return
        transfer = self.copies[0]
        record.link_busy += now - transfer.start
        plan, n = self._plan, self._plan.chunks
        paid_first = transfer.end - transfer.start - self._transfer_ps[transfer.layer] - transfer.overhead
        begun = pieces_begun(plan)
        duration = self._transfer_ps[transfer.layer]
        moved = 0
        for i in range(1, n + 1):
            overhead = begun[i] * plan.copy_overhead_ps if self._loop else paid_first
            if transfer.start + overhead + ceil_div(i * duration, n) <= now:
                moved = i
        size = ceil_div(moved * transfer.size, n)
        record.bytes_loaded += size
        if not transfer.used:
            record.bytes_wasted += size
        self._draw(transfer, now, size)

    def _draw(self, t: Transfer, end: int, size: int) -> None:
        name = "prefetch" if t.prefetch else "copy"
        self._record.slice(
            "link", name, t.start, end, t.step, t.layer, experts=(t.expert,), transfer=t.number, size=size
        )
