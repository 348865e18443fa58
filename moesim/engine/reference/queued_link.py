"""The link as a SimPy process: two-level queues, preemption, cancellation, chunks that are not in DRAM yet (rule 7)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy import Event

from moesim.core.ticks import ceil_div
from moesim.engine.reference.events import At, Ticks, wake
from moesim.engine.reference.link import pieces_begun
from moesim.engine.reference.transfer import Transfer
from moesim.engine.spec import Phase
from moesim.plan.plan import LinkPlan

if TYPE_CHECKING:
    from moesim.engine.reference.host import Host

__all__ = ["QueuedLink"]


class QueuedLink:
    """One copy at a time, chunk by chunk. Queues are short, so they are plain lists searched in order of place."""

    def __init__(self, env: Ticks, plan: LinkPlan, host: Host) -> None:
        self._env = env
        self._plan = plan
        self._host = host
        self._record = host.record
        self._two_level = plan.discipline == "two_level"
        self._queue: list[Transfer] = []
        self._places = 0
        self._idle: Event | None = None
        self._serving: Transfer | None = None
        self._since = self._from = 0
        """Tick and chunk at which the service began."""
        self._begun = pieces_begun(plan)
        env.process(self._run())

    # ---- what others ask of it -------------------------------------------------------------------------------------

    def join(self, transfer: Transfer, _at: int) -> None:
        """A transfer whose first chunk is in DRAM joins; for one that has joined, a further chunk is there."""
        if transfer.held:
            return
        if not transfer.joined:
            transfer.joined = True
            self._to_tail(transfer)
        self._wake()

    def promote(self, transfer: Transfer, _at: int) -> None:
        """The walk has come to a late prefetch: it joins the tail of HIGH, now or when its first chunk is in DRAM."""
        transfer.held = False
        if transfer.ready:
            transfer.joined = True
            self._to_tail(transfer)
            self._wake()

    def withdraw(self, transfer: Transfer) -> None:
        """A prefetch that was looked up leaves LOW and stays away until the walk lets it join HIGH."""
        transfer.held = not transfer.in_service
        if transfer.queued:
            transfer.queued = False
            self._queue.remove(transfer)

    def cancel(self, transfer: Transfer) -> None:
        """A prefetch that nobody needs any more vanishes, now or at the end of its chunk; in its last chunk it ends."""
        if transfer.in_service and not transfer.at_boundary:
            transfer.cancelled = transfer.moved < self._plan.chunks - 1
            return
        if transfer.queued:
            transfer.queued = False
            self._queue.remove(transfer)
        transfer.cancelled = True
        self._vanish(transfer)

    def _vanish(self, transfer: Transfer) -> None:
        self._record.prefetch_cancelled += 1
        self._host.vanish(transfer)

    def backlog_ps(self, _now: int) -> int:
        """Ticks of work queued: durations of what is left to move, overheads aside."""
        n = self._plan.chunks
        left = [*self._queue, *([self._serving] if self._serving else [])]
        return sum(ceil_div((n - t.moved) * self._plan.transfer_ps[t.layer], n) for t in left)

    def finish(self, now: int) -> None:
        """Book the busy time that the end of the run cuts, and what unused prefetches have moved."""
        if self._serving is not None:
            self._record.link_busy += now - self._since
            self._draw(self._serving, now)
        for transfer in self._host.inflight.values():
            if not transfer.used:
                self._record.bytes_wasted += ceil_div(transfer.moved * transfer.size, self._plan.chunks)

    # ---- the process -----------------------------------------------------------------------------------------------

    def _to_tail(self, transfer: Transfer) -> None:
        self._places += 1
        transfer.place = self._places
        transfer.queued = True
        self._queue.append(transfer)

    def _wake(self) -> None:
        if self._idle is not None:
            wake(self._idle, Phase.LINK_PICK)

    def _next(self) -> Transfer | None:
        """The transfer to serve now: HIGH before LOW, by place, next chunk in DRAM."""
        best = None
        for t in self._queue:
            if t.ready > t.moved and (best is None or (not t.high, t.place) < (not best.high, best.place)):
                best = t
        return best

    def _run(self) -> Generator[Event, Any, None]:
        env = self._env
        while True:
            transfer = self._next()
            if transfer is None:
                self._idle = Event(env)
                yield self._idle
                self._idle = None
                continue
            self._queue.remove(transfer)
            transfer.queued = False
            if not transfer.claimed and not self._host.claim_prefetch(transfer):
                self._record.prefetch_dropped += 1
                self._host.vanish(transfer)
                # what that freed may let waiting loads in before the link picks again
                yield At(env, 0, Phase.LINK_PICK)
                continue
            transfer.in_service = True
            self._serving, self._since, self._from = transfer, env.now, transfer.moved
            yield from self._serve(transfer)
            transfer.in_service = False
            self._serving = None
            self._record.link_busy += env.now - self._since
            self._draw(transfer, env.now)
            if transfer.moved < self._plan.chunks and not transfer.cancelled:
                # it keeps its place
                transfer.queued = True
                self._queue.append(transfer)

    def _serve(self, t: Transfer) -> Generator[Event, Any, None]:
        """Hold the link for one transfer until it ends, is left at a chunk end, or vanishes."""
        env, plan = self._env, self._plan
        n, duration = plan.chunks, plan.transfer_ps[t.layer]
        first = t.moved
        base = env.now + (plan.wakeup_ps if self._two_level else 0) + (plan.resume_ps if first else 0)
        if plan.method == "loop":
            base -= self._begun[first] * plan.copy_overhead_ps
        elif not first and not t.group.paid:
            base += plan.copy_overhead_ps
            t.group.paid = True
        base -= ceil_div(first * duration, n)
        while True:
            i = t.moved + 1
            end = base + ceil_div(i * duration, n)
            if plan.method == "loop":
                end += self._begun[i] * plan.copy_overhead_ps
            yield At(env, end - env.now, Phase.TRANSFER_END)
            t.moved = i
            self._record.bytes_loaded += ceil_div(i * t.size, n) - ceil_div((i - 1) * t.size, n)
            if i == n:
                break
            if t.cancelled:
                self._vanish(t)
                yield At(env, 0, Phase.LINK_PICK)
                return
            t.at_boundary = True
            yield At(env, 0, Phase.LINK_PICK)
            t.at_boundary = False
            if t.cancelled or t.ready <= t.moved:
                return
            if not t.high and self._two_level:
                ahead = self._next()
                if ahead is not None and ahead.high:
                    return
        if t.overhead:
            yield At(env, t.overhead, Phase.TRANSFER_END)
        t.end = env.now
        self._host.arrive(t, env.now)
        # others of this phase and of the later ones first; then the link picks
        yield At(env, 0, Phase.LINK_PICK)

    def _draw(self, t: Transfer, end: int) -> None:
        """The bar of the service that ends now, with the bytes of the chunks that ended in it."""
        name, n = "prefetch" if t.prefetch else "copy", self._plan.chunks
        size = ceil_div(t.moved * t.size, n) - ceil_div(self._from * t.size, n)
        self._record.slice(
            "link", name, self._since, end, t.step, t.layer, experts=(t.expert,), transfer=t.number, size=size
        )
