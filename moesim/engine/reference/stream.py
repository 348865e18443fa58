"""The compute stream: one SimPy process that walks through steps and layers (rules 2, 10, 11)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy import Event

from moesim.engine.reference.events import At, Ticks
from moesim.engine.reference.host import Host
from moesim.engine.reference.prefetcher import Prefetcher
from moesim.engine.reference.transfer import LayerSet, Transfer
from moesim.engine.spec import Phase
from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN

__all__ = ["Stream"]

(
    ATTENTION, ROUTER, CONTROL, MANAGEMENT, EXPERTS, SHARED, DENSE, HEAD, HOST_GAP, COLLECTIVE,
    STALL_LINK, STALL_STORAGE, STALL_CACHE, STALL_CPU,
) = range(len(BREAKDOWN))  # fmt: skip


class Stream:
    """Runs attention, routers, groups of experts and heads in order; waits when nothing of the set is there."""

    def __init__(self, env: Ticks, plan: Plan, host: Host, progress: Callable[[int], None] | None) -> None:
        self._env = env
        self._plan = plan
        self._host = host
        self._record = host.record
        self._progress = progress
        self._prefetcher = None if plan.prefetch.kind == "none" else Prefetcher(env, plan, host)
        self._group_ps: list[list[list[int]]] = [table.tolist() for table in plan.group_ps]
        self._group_class: list[int] = plan.group_class.tolist()
        self._after_layer = plan.evict == "after_layer"
        self._one_by_one = plan.grouping == "each"
        self._wait_for_last = plan.grouping in ("after_all", "hits_then_rest")
        self._shared_wait = plan.grouping == "after_all"
        self._schedule = host.schedule

    # ---- steps and layers ------------------------------------------------------------------------------------------

    def run(self) -> Generator[Event, Any, None]:
        """The process."""
        env, plan, record, host = self._env, self._plan, self._record, self._host
        layers = plan.n_layers
        is_moe: list[bool] = plan.is_moe.tolist()
        control: list[int] = (plan.d2h_sync_ps + plan.lookup_ps).tolist()
        batches: list[int] = plan.step_batch.tolist()
        prefetcher = self._prefetcher
        for step in range(plan.n_steps):
            host.step = step
            row = record.begin_step(step, env.now)
            attention, router = plan.attention_ps[step].tolist(), plan.router_ps[step].tolist()
            shared, dense = plan.shared_ps[step].tolist(), plan.dense_ps[step].tolist()
            bounds = plan.set_ptr[step * layers : (step + 1) * layers + 1].tolist()
            first = bounds[0]
            experts = plan.set_expert[first : bounds[-1]].tolist()
            pairs = plan.set_pairs[first : bounds[-1]].tolist()
            weights = plan.set_weight[first : bounds[-1]].tolist()
            for layer in range(layers):
                if not env.pass_to(0, Phase.STREAM_PICK):
                    yield At(env, 0, Phase.STREAM_PICK)
                lo, hi = bounds[layer] - first, bounds[layer + 1] - first
                if not is_moe[layer] or lo == hi:
                    yield from self._plain_layer(
                        step, layer, row, attention[layer], 0 if is_moe[layer] else dense[layer]
                    )
                    continue
                start = env.now
                if prefetcher is not None and prefetcher.by_layer:
                    prefetcher.layer_starts(step, layer)
                compute = attention[layer] + router[layer]
                row[ATTENTION] += attention[layer]
                row[ROUTER] += router[layer]
                row[CONTROL] += control[layer]
                record.stream_busy += compute
                if router[layer] + control[layer] == 0 and compute:
                    # the router is picked in the tick of the lookup, after what is issued there
                    if not env.pass_to(compute, Phase.STREAM_END):
                        yield At(env, compute, Phase.STREAM_END)
                    if not env.pass_to(0, Phase.STREAM_PICK):
                        yield At(env, 0, Phase.STREAM_PICK)
                    compute = 0
                if not env.pass_to(compute + control[layer], Phase.LOOKUP):
                    yield At(env, compute + control[layer], Phase.LOOKUP)
                if record.recording:
                    self._draw_front(step, layer, start, attention[layer], router[layer])
                yield from self._experts(step, layer, row, experts[lo:hi], pairs[lo:hi], weights[lo:hi], shared[layer])
            yield from self._end_step(step, row, step + 1 < plan.n_steps and batches[step + 1] != batches[step])

    def _plain_layer(
        self, step: int, layer: int, row: list[int], attention: int, dense: int
    ) -> Generator[Event, Any, None]:
        """A dense layer, or a MoE layer that no token reaches."""
        env, record = self._env, self._record
        start = env.now
        if attention + dense and not env.pass_to(attention + dense, Phase.STREAM_END):
            yield At(env, attention + dense, Phase.STREAM_END)
        row[ATTENTION] += attention
        row[DENSE] += dense
        record.stream_busy += attention + dense
        record.slice("stream", "attention", start, start + attention, step, layer)
        record.slice("stream", "dense", start + attention, env.now, step, layer)
        record.end_layer(env.now, (0, 0, 0), 0)

    def _end_step(self, step: int, row: list[int], last_of_batch: bool) -> Generator[Event, Any, None]:
        env, plan, record, host = self._env, self._plan, self._record, self._host
        if not env.pass_to(0, Phase.STREAM_PICK):
            yield At(env, 0, Phase.STREAM_PICK)
        start, head, gap = env.now, int(plan.head_ps[step]), int(plan.host_gap_ps[step])
        if head + gap and not env.pass_to(head + gap, Phase.STREAM_END):
            yield At(env, head + gap, Phase.STREAM_END)
        row[HEAD] += head
        row[HOST_GAP] += gap
        record.stream_busy += head
        record.slice("stream", "head", start, start + head, step, plan.n_layers - 1)
        record.slice("stream", "host_gap", start + head, env.now, step, plan.n_layers - 1)
        host.settle()
        record.end_step(env.now, host.memory.residency.by_layer)
        if last_of_batch and plan.reset == "sequence":
            host.memory.reset(host.inflight)
        if self._progress is not None:
            self._progress(step + 1)

    def _draw_front(self, step: int, layer: int, start: int, attention: int, router: int) -> None:
        record = self._record
        record.slice("stream", "attention", start, start + attention, step, layer)
        record.slice("stream", "router", start + attention, start + attention + router, step, layer)

    def _draw_control(self, step: int, layer: int, looked_up: int, free: int) -> None:
        start = looked_up - int(self._plan.d2h_sync_ps[layer] + self._plan.lookup_ps[layer])
        self._record.slice("stream", "control", start, free, step, layer)

    # ---- one MoE layer ---------------------------------------------------------------------------------------------

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
        """From the lookup to the end of the layer."""
        env, record, host, prefetcher = self._env, self._record, self._host, self._prefetcher
        looked_up = env.now
        current, counts, order = host.lookup(step, layer, experts, pairs, weights)
        free = looked_up
        if order:
            if prefetcher is not None:
                prefetcher.walk_begins()
            free, host_cost = yield from host.walk(order, layer)
            row[CONTROL] += free - looked_up - host_cost
            row[MANAGEMENT] += host_cost
        if record.recording:
            self._draw_control(step, layer, looked_up, free)
        if prefetcher is not None:
            prefetcher.walk_ends(free)
            if free > env.now and not env.pass_to(free - env.now, Phase.ISSUE):
                yield At(env, free - env.now, Phase.ISSUE)
            prefetcher.looked_up(looked_up, step, layer)
            if not env.pass_to(0, Phase.STREAM_PICK):
                yield At(env, 0, Phase.STREAM_PICK)
        elif not env.pass_to(free - env.now, Phase.STREAM_PICK):
            yield At(env, free - env.now, Phase.STREAM_PICK)

        stalled = 0
        first = True
        while shared or current.pending or current.ready:
            group = [] if self._one_by_one and shared else self._choose(current, first)
            run_shared = 0
            first = False
            if shared and (group or not self._shared_wait):
                run_shared, shared = shared, 0
            elif not group:
                start = env.now
                yield from self._wait(current)
                stalled += self._book_wait(current, row, start)
                continue
            begun = env.now
            total, management, experts_ps = self._price(current, row, group, run_shared)
            if not env.pass_to(total, Phase.STREAM_END):
                yield At(env, total, Phase.STREAM_END)
            if record.recording:
                self._draw_group(current, begun, env.now, group, management, run_shared, experts_ps)
            host.memory.release(group, layer)
            if host.waiting:
                host.retry(env.now)
            # the layer ends with its last group; before a further one is picked, others of this tick have their turn
            if (shared or current.pending or current.ready) and not env.pass_to(0, Phase.STREAM_PICK):
                yield At(env, 0, Phase.STREAM_PICK)
        end_cost = host.memory.trim(layer, current.keys) if self._after_layer else 0
        if end_cost:
            start = env.now
            if not env.pass_to(end_cost, Phase.STREAM_END):
                yield At(env, end_cost, Phase.STREAM_END)
            row[MANAGEMENT] += end_cost
            record.stream_busy += end_cost
            record.slice("stream", "management", start, env.now, step, layer)
        host.current = None
        record.end_layer(env.now, counts, stalled)

    def _choose(self, current: LayerSet, first: bool) -> list[int]:
        """Take the next group out of what is ready (rule 10); empty if the stream must wait."""
        ready, hits = current.ready, current.n_ready_hits
        waiting = current.waiting
        group = self._schedule.group(ready, hits, len(current.pending) - waiting, waiting, first) if ready else []
        if len(group) == len(ready):
            current.ready, current.n_ready_hits = [], 0
        elif group:
            chosen = set(group)
            current.n_ready_hits = hits - sum(key in chosen for key in ready[:hits])
            current.ready = [key for key in ready if key not in chosen]
        return group

    def _price(self, current: LayerSet, row: list[int], group: list[int], shared: int) -> tuple[int, int, int]:
        """Book one group on the stream: ticks of all of it, of its management, of its experts."""
        layer = current.layer
        management = experts = 0
        if group:
            unpaid = self._host.memory.unpaid
            if unpaid:
                management = sum(unpaid.pop(key, 0) for key in group)
            count, pairs = len(group), current.pairs
            picked = count if pairs is None else sum([pairs[key] for key in group])
            experts = self._group_ps[self._group_class[layer]][picked][count]
        total = management + shared + experts
        row[MANAGEMENT] += management
        row[SHARED] += shared
        row[EXPERTS] += experts
        self._record.stream_busy += total
        return total, management, experts

    def _draw_group(
        self, current: LayerSet, start: int, end: int, group: list[int], management: int, shared: int, experts: int
    ) -> None:
        record, step, layer = self._record, current.step, current.layer
        ids = [key - current.base for key in group]
        record.slice("stream", "management", start, start + management, step, layer)
        record.slice("stream", "shared", start + management, start + management + shared, step, layer)
        record.slice("stream", "experts", end - experts, end, step, layer, experts=ids)

    # ---- waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, current: LayerSet) -> Generator[Event, Any, None]:
        """Nothing can run: idle until an arrival lets something run."""
        host = self._host
        while True:
            host.stream_waits = Event(self._env)
            yield host.stream_waits
            host.stream_waits = None
            if self._startable(current):
                return

    def _startable(self, current: LayerSet) -> bool:
        ready, waiting = current.ready, current.waiting
        in_flight = len(current.pending) - waiting
        return bool(ready and self._schedule.group(ready, current.n_ready_hits, in_flight, waiting, False))

    def _book_wait(self, current: LayerSet, row: list[int], start: int) -> int:
        """Cut [start, now) at the ticks where the transfer that ended it changed server (rule 11)."""
        now = self._env.now
        arrivals = current.arrivals
        cause = arrivals[0] if len(arrivals) == 1 else min(arrivals, key=lambda t: t.expert)
        admitted = min(max(cause.admitted, start), now)
        in_dram = min(max(cause.in_dram, admitted), now)
        row[STALL_CACHE] += admitted - start
        row[STALL_STORAGE] += in_dram - admitted
        row[STALL_LINK] += now - in_dram
        self._record.waits.append((current.step, current.layer, start, now, cause.expert, cause.number))
        if self._record.recording:
            self._draw_wait(current, start, now, cause)
        return now - start

    def _draw_wait(self, current: LayerSet, start: int, end: int, cause: Transfer) -> None:
        step, layer, ids = current.step, current.layer, (cause.expert,)
        self._record.slice("stream", "wait", start, end, step, layer, experts=ids, transfer=cause.number)
