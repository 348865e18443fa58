"""The textbook SimPy model of the same question: what `moesim bench` compares the engine with.

Written as the SimPy tutorial teaches, and as a competent user would: one Resource for each server, one process for each
load and for each expert, one timeout for each chunk and each operation. It reads the same plan (routing, durations,
cache, predictions). Left out: it runs every expert by itself instead of in groups, evicts without asking whether an
expert is still being computed or loaded, and knows nothing of waves, staging, or bytes that must be waited for. So its
token time is near the engine's, and its hits and misses are the engine's where nothing is prefetched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import simpy

from moesim.core.ticks import ceil_div
from moesim.plan.plan import Plan
from moesim.policies.prefetch import PREFETCHES
from moesim.policies.view import View

__all__ = ["Textbook", "TextbookResult"]

_Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, kw_only=True)
class TextbookResult:
    """What the textbook model counts."""

    elapsed_ps: int
    hits: int
    late: int
    misses: int
    prefetches: int
    events: int
    """SimPy events of the run."""


class Textbook:
    """Batch 1, decode, one link from host memory, LRU in each layer (equal sizes within a layer).

    Raises ValueError for a plan beyond that.
    """

    def __init__(self, plan: Plan) -> None:
        simple = plan.path == "link" and plan.eviction.kind == "lru" and bool(plan.is_moe.all())
        own_caches = plan.cache_of_layer.tolist() == [*range(plan.n_layers)]
        if not (simple and own_caches and plan.link is not None and bool((plan.step_tokens == 1).all())):
            raise ValueError("the textbook model knows batch 1, MoE layers, LRU in each layer, and a link only")
        self.plan = plan
        self.env = simpy.Environment()
        self.gpu = simpy.Resource(self.env)
        self.two_level = plan.link.discipline == "two_level"
        self.link: Any = simpy.PriorityResource(self.env) if self.two_level else simpy.Resource(self.env)
        bounds, experts = plan.set_ptr.tolist(), plan.set_expert.tolist()
        self.sets: list[list[int]] = [experts[a:b] for a, b in pairwise(bounds)]
        self.issue = plan.issue_ps.tolist()
        self.control = (plan.d2h_sync_ps + plan.lookup_ps).tolist()
        self.alone = [int(plan.group_ps[plan.group_class[layer]][1, 1]) for layer in range(plan.n_layers)]
        self.slots = (plan.cache_capacity // plan.expert_bytes).tolist()
        # expert -> the event that its bytes are there; least recent first
        self.caches: list[OrderedDict[int, simpy.Event]] = [OrderedDict() for _ in range(plan.n_layers)]
        for key in plan.initial:
            there = self.env.event()
            there.succeed()
            self.caches[key // plan.n_experts][key % plan.n_experts] = there
        self.policy = None if plan.prefetch.kind == "none" else plan.prefetch.new(PREFETCHES)
        self.view = _Past(self)
        self.position = -1
        self.hits = self.late = self.misses = self.prefetches = 0

    def run(self) -> TextbookResult:
        """Simulate the whole plan."""
        # the environment numbers events as they are scheduled; those of the initial content do not count
        before = next(self.env._eid)
        self.env.run(until=self.env.process(self.tokens()))
        return TextbookResult(
            elapsed_ps=int(self.env.now),
            hits=self.hits,
            late=self.late,
            misses=self.misses,
            prefetches=self.prefetches,
            events=next(self.env._eid) - before - 1,
        )

    def tokens(self) -> _Steps:
        """All tokens, one after another."""
        plan = self.plan
        head, gap = plan.head_ps.tolist(), plan.host_gap_ps.tolist()
        for step in range(plan.n_steps):
            attention, router = plan.attention_ps[step].tolist(), plan.router_ps[step].tolist()
            for layer in range(plan.n_layers):
                yield from self.layer(step, layer, attention[layer], router[layer])
            yield from self.compute(head[step])
            yield self.env.timeout(gap[step])

    def layer(self, step: int, layer: int, attention: int, router: int) -> _Steps:
        """Attention, router, lookup, then one process for each expert."""
        env, plan, cache = self.env, self.plan, self.caches[layer]
        yield from self.compute(attention)
        yield from self.compute(router)
        yield env.timeout(self.control[layer])
        self.position = step * plan.n_layers + layer
        experts = self.sets[self.position]
        missed = []
        for expert in experts:
            if expert in cache:
                if cache[expert].triggered:
                    self.hits += 1
                else:
                    self.late += 1
                cache.move_to_end(expert)
            else:
                self.misses += 1
                missed.append(expert)
                cache[expert] = env.event()
        self.evict(layer)
        arrived = {expert: cache[expert] for expert in experts}
        for expert in missed:
            yield env.timeout(self.issue[layer])
            env.process(self.load(layer, arrived[expert], 0))
        if self.policy is not None:
            for _, target, expert in self.policy.predict(self.view, step, layer):
                self.prefetch(target, expert)
        yield env.all_of([env.process(self.expert(layer, arrived[expert])) for expert in experts])

    def evict(self, layer: int) -> None:
        """The least recent leave until the rest fits."""
        cache = self.caches[layer]
        while len(cache) > self.slots[layer]:
            cache.popitem(last=False)

    def prefetch(self, layer: int, expert: int) -> None:
        """Start to load an expert that is not there, at low priority."""
        cache = self.caches[layer]
        if expert not in cache:
            cache[expert] = self.env.event()
            self.evict(layer)
            self.prefetches += 1
            self.env.process(self.load(layer, cache[expert], 1))

    def load(self, layer: int, arrived: simpy.Event, priority: int) -> _Steps:
        """One copy: wait for the link, move chunk by chunk."""
        link = self.plan.link
        assert link is not None
        n, duration = link.chunks, link.transfer_ps[layer]
        times = [ceil_div((i + 1) * duration, n) - ceil_div(i * duration, n) for i in range(n)]
        times[0] += link.copy_overhead_ps
        if self.two_level:
            # the link is asked for chunk by chunk, so that a demand can overtake a prefetch between two of them
            for ticks in times:
                with self.link.request(priority=priority) as turn:
                    yield turn
                    yield self.env.timeout(ticks)
        else:
            with self.link.request() as turn:
                yield turn
                for ticks in times:
                    yield self.env.timeout(ticks)
        arrived.succeed()

    def expert(self, layer: int, arrived: simpy.Event) -> _Steps:
        """One expert: wait for its weights, then for the GPU."""
        if not arrived.triggered:
            yield arrived
        yield from self.compute(self.alone[layer])

    def compute(self, ticks: int) -> _Steps:
        """One operation on the GPU."""
        with self.gpu.request() as turn:
            yield turn
            yield self.env.timeout(ticks)


class _Past(View):
    """What the predictor may ask."""

    def __init__(self, model: Textbook) -> None:
        self._model = model
        plan = model.plan
        self.seed, self.n_experts, self.n_steps = plan.seed, plan.n_experts, plan.n_steps
        self._layers = plan.n_layers

    @property
    def now(self) -> int:
        return int(self._model.env.now)

    def is_resident(self, layer: int, expert: int) -> bool:
        there = self._model.caches[layer].get(expert)
        return there is not None and bool(there.triggered)

    def is_loading(self, layer: int, expert: int) -> bool:
        there = self._model.caches[layer].get(expert)
        return there is not None and not there.triggered

    def is_decode(self, step: int) -> bool:
        return True

    def batch(self, step: int) -> int:
        return 0

    def moe_layers(self) -> Sequence[int]:
        return range(self._layers)

    def was_looked_up(self, step: int, layer: int) -> bool:
        return step * self._layers + layer <= self._model.position

    def past_set(self, step: int, layer: int) -> Sequence[int]:
        return self._model.sets[step * self._layers + layer]

    def past_last_token(self, step: int, layer: int) -> Sequence[int]:
        return self.past_set(step, layer)

    def true_set(self, step: int, layer: int) -> Sequence[tuple[int, int]]:
        return [(expert, 0) for expert in self._model.sets[step * self._layers + layer]]

    def experts_of(self, layer: int) -> int:
        return self.n_experts

    def link_backlog_ps(self) -> int:
        raise NotImplementedError("a Resource does not know how long its queue is")
