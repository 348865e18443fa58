"""The stream where every arrival is computed (`moesim.engine.reference.link`): the same rules, worked off ahead.

Between the router and the end of a layer nothing can come first that is not known already: copies end when they were
always going to end, and only predictions that fall due later (`t_pred`) are events. So the stream keeps its own clock
and goes through SimPy only if something is on the agenda; this is what runs for most plans, and what is written out
here rather than called is what runs for every expert.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy import Event

from moesim.engine.reference.events import At, Ticks
from moesim.engine.reference.host import Host
from moesim.engine.reference.link import ComputedLink
from moesim.engine.reference.stream import CONTROL, EXPERTS, MANAGEMENT, SHARED, STALL_CACHE, STALL_LINK, Stream
from moesim.engine.reference.transfer import IssueGroup, Transfer
from moesim.engine.spec import Phase
from moesim.errors import StuckError
from moesim.plan.plan import Plan
from moesim.policies.cache import RESIDENT

__all__ = ["ComputedStream"]


class ComputedStream(Stream):
    """path link, discipline fifo."""

    def __init__(self, env: Ticks, plan: Plan, host: Host, progress: Callable[[int], None] | None) -> None:
        super().__init__(env, plan, host, progress)
        assert isinstance(host.link, ComputedLink)
        self._link = host.link
        # with this grouping the stream takes whatever is ready
        self._eager = plan.grouping == "hits_then_arrived"

    def _experts(
        self,
        step: int,
        layer: int,
        row: list[int],
        experts: list[int],
        pairs: list[int],
        weights: list[int],
        shared: int,
    ) -> Generator[Event, Any, None]:
        env, record, host, link = self._env, self._record, self._host, self._link
        memory, agenda, copies, prefetcher = host.memory, env.agenda, link.copies, self._prefetcher
        now = looked_up = env.now
        if copies and copies[0].end <= now:
            link.settle(now)
        current, counts, order = host.lookup(step, layer, experts, pairs, weights)
        if order:
            free, host_cost = self._walk_ahead(order, layer)
            row[CONTROL] += free - now - host_cost
            row[MANAGEMENT] += host_cost
        else:
            free = now
        if record.recording:
            self._draw_control(step, layer, looked_up, free)
        if prefetcher is not None:
            prefetcher.walk_ends(free)
            if free > now and not env.pass_to(free - now, Phase.ISSUE):
                yield At(env, free - now, Phase.ISSUE)
            prefetcher.looked_up(looked_up, step, layer)
            if agenda and not env.pass_to(0, Phase.STREAM_PICK):
                yield At(env, 0, Phase.STREAM_PICK)
        elif not env.pass_to(free - now, Phase.STREAM_PICK):
            yield At(env, free - now, Phase.STREAM_PICK)

        # from here on `now` is the clock, and `env` is told when it matters
        now = free
        unpaid, waiting, pending, eager = memory.unpaid, host.waiting, current.pending, self._eager
        state, pinned, evictable = memory.state, memory.residency.pinned, memory.residency.evictable
        prices, size, in_cache = self._group_ps[self._group_class[layer]], memory.sizes[layer], memory.cache_of[layer]
        assert in_cache is not None
        key_pairs = current.pairs
        stalled = unissued = experts_ps = busy = 0
        first = True
        if copies and copies[0].end <= now:
            link.settle(now)
        if waiting:
            host.retry(now)
        while shared or pending or current.ready:
            if eager:
                group = current.ready
                current.ready = []
            else:
                group = [] if self._one_by_one and shared else self._choose(current, first)
            first = False
            if group or (shared and not self._shared_wait):
                management = price = 0
                if unpaid and group:
                    management = sum(unpaid.pop(key, 0) for key in group)
                    row[MANAGEMENT] += management
                if group:
                    count = len(group)
                    price = prices[count if key_pairs is None else sum([key_pairs[key] for key in group])][count]
                    experts_ps += price
                total = management + shared + price
                busy += total
                if agenda:
                    env.catch_up(now)
                    if not env.pass_to(total, Phase.STREAM_END):
                        yield At(env, total, Phase.STREAM_END)
                now += total
                if record.recording:
                    self._draw_group(current, now - total, now, group, management, shared, price)
                if shared:
                    row[SHARED] += shared
                    shared = 0
                if copies and copies[0].end <= now:
                    link.settle(now)
                for key in group:
                    if state[key] == RESIDENT:
                        pinned[key] = 0
                        evictable[key] = 1
                        in_cache.evictable_bytes += size
                    else:
                        memory.release([key], layer)
                if waiting:
                    host.retry(now)
                # the layer ends with its last group; before a further one others of this tick have their turn
                if agenda and (pending or current.ready):
                    env.catch_up(now)
                    if not env.pass_to(0, Phase.STREAM_PICK):
                        yield At(env, 0, Phase.STREAM_PICK)
                continue
            start = now
            while True:
                if eager and copies and copies[0].key in pending:
                    tick: int | None = copies[0].end
                else:
                    tick = link.next_end(pending, self._wait_for_last) or link.next_any()
                if tick is None:
                    raise StuckError(f"step {step}, layer {layer}: nothing is on its way")
                if agenda:
                    env.catch_up(now)
                    if not env.pass_to(tick - now, Phase.STREAM_PICK):
                        yield At(env, tick - now, Phase.STREAM_PICK)
                now = tick
                link.settle(now)
                if waiting:
                    host.retry(now)
                if current.ready if eager else self._startable(current):
                    break
            # one arrival a tick: the link serves one copy after the other
            cause = current.arrivals[0]
            if cause.admitted > start:
                unissued += cause.admitted - start
            stalled += now - start
            record.waits.append((step, layer, start, now, cause.expert, cause.number))
            if record.recording:
                self._draw_wait(current, start, now, cause)
        row[STALL_CACHE] += unissued
        row[STALL_LINK] += stalled - unissued
        row[EXPERTS] += experts_ps
        record.stream_busy += busy
        env.catch_up(now)
        end_cost = memory.trim(layer, current.keys) if self._after_layer else 0
        if end_cost:
            if not env.pass_to(end_cost, Phase.STREAM_END):
                yield At(env, end_cost, Phase.STREAM_END)
            row[MANAGEMENT] += end_cost
            record.stream_busy += end_cost
            record.slice("stream", "management", now, now + end_cost, step, layer)
            link.settle(now + end_cost)
        host.current = None
        record.end_layer(env.now, counts, stalled)

    def _walk_ahead(self, order: list[int], layer: int) -> tuple[int, int]:
        """The demand walk: nothing else can happen to the caches before its end, so it need not wait for the clock.

        (Tick at which the stream is free, host overhead).
        """
        host, link = self._host, self._link
        memory, copies, host_pays = host.memory, link.copies, host.host_pays
        size, step, base = memory.sizes[layer], host.step, layer * host.n
        issue = host.issue_ps[layer]
        group = IssueGroup()
        host_cost = 0
        h = self._env.now
        for key in order:
            if host.waiting:
                host.wait_for_bytes(key, group)
                continue
            if copies and copies[0].end <= h:
                link.settle(h)
            cost = memory.claim_demand(key, layer)
            if cost is None:
                host.wait_for_bytes(key, group)
                continue
            h += issue
            if cost and host_pays:
                h += cost
                host_cost += cost
                cost = 0
            # `Host.send` written out: this runs for every miss
            transfer = Transfer(key, layer, key - base, size, group, step)
            if cost:
                transfer.overhead = cost
            transfer.number = host.issued
            host.issued += 1
            host.inflight[key] = transfer
            link.join(transfer, h)
        return h, host_cost
