"""Predictions: when they are made, and what becomes a prefetch (rule 8 of the spec)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from moesim.engine.reference.events import Ticks, call_at
from moesim.engine.reference.host import Host
from moesim.engine.reference.transfer import IssueGroup, Transfer
from moesim.engine.reference.view import EngineView
from moesim.engine.spec import Phase
from moesim.plan.plan import Plan
from moesim.policies.cache import RESIDENT
from moesim.policies.prefetch import PREFETCHES

__all__ = ["Prefetcher"]

_FOREVER = 1 << 80
"""Beyond any tick: the host is walking."""


class Prefetcher:
    """Asks the prefetch policy at each source point and issues what it predicts, when the host has time."""

    def __init__(self, env: Ticks, plan: Plan, host: Host) -> None:
        self._env = env
        self._plan = plan
        self._host = host
        self._policy = plan.prefetch.new(PREFETCHES)
        self._view = EngineView(host)
        self._due: deque[tuple[int, int, int]] = deque()
        """Predictions to issue: (tick, step, layer), in order."""
        self._free_at = 0
        """End of the walk; predictions that fall due before it wait for it."""
        self.by_layer = plan.prefetch_source == "layer_start"
        """Whether layers, not lookups, are the source points."""

    def layer_starts(self, step: int, layer: int) -> None:
        """Source point `layer_start`, as the stream picks the layer's attention."""
        tick = self._env.now + self._plan.t_pred_ps
        self._due.append((tick, step, layer))
        if tick == self._env.now:
            # the stream picks now, so all earlier phases of this tick are done
            self._issue_due()
        else:
            call_at(self._env, tick - self._env.now, Phase.ISSUE, self._issue_due)

    def walk_begins(self) -> None:
        """The host walks: nothing is issued until `walk_ends`."""
        self._free_at = _FOREVER

    def walk_ends(self, free: int) -> None:
        """The host will be free at tick `free`."""
        self._free_at = free

    def looked_up(self, tick: int, step: int, layer: int) -> None:
        """The host is free now, in the issue phase: issue what is due; source point `lookup` was at `tick`."""
        due = tick + self._plan.t_pred_ps
        if not self.by_layer:
            self._due.append((due, step, layer))
        self._issue_due()
        if not self.by_layer and due > self._env.now:
            call_at(self._env, due - self._env.now, Phase.ISSUE, self._issue_due)

    def _issue_due(self, _: object = None) -> None:
        """Issue every prediction that is due, unless the host is walking: then it waits for the end of the walk."""
        now, host = self._env.now, self._host
        if now < self._free_at or not self._due or self._due[0][0] > now:
            return
        host.settle()
        if host.waiting:
            host.retry(now)
        while self._due and self._due[0][0] <= now:
            _, step, layer = self._due.popleft()
            self._issue(self._policy.predict(self._view, step, layer), now)

    def _issue(self, predicted: Sequence[tuple[int, int, int]], now: int) -> None:
        """Issue one prediction, in its order (phase 5)."""
        host, plan = self._host, self._plan
        memory, record, layers, n = host.memory, host.record, plan.n_layers, plan.n_experts
        state, inflight, position, current = memory.state, host.inflight, host.position, host.current
        one = self._one_ahead if host.computed and plan.prefetch_into == "cache" else self._one
        group = IssueGroup()
        for step, layer, expert in predicted:
            target, key = step * layers + layer, layer * n + expert
            if target <= position:
                record.prefetch_stale += 1
            elif state[key] >= RESIDENT or memory.is_there(key):
                if plan.touch_on_predict and state[key] == RESIDENT:
                    memory.cache_of[layer].policy.touch(key)  # type: ignore[union-attr]
            elif key in inflight:
                self._again(inflight[key], target)
            elif current is None or key not in current.pending:
                one(key, layer, expert, target, group, now)

    def _again(self, transfer: Transfer, target: int) -> None:
        """A transfer on its way was predicted again: if it was about to vanish, it goes on for the new target."""
        if transfer.cancelled:
            transfer.cancelled = False
            transfer.target = target

    def _one_ahead(self, key: int, layer: int, expert: int, target: int, group: IssueGroup, now: int) -> None:
        """`_one` into the cache over a link whose arrivals are computed, which is what runs most."""
        host, memory = self._host, self._host.memory
        blocked = bool(host.waiting) and memory.cache_of[host.waiting[0][0] // host.n] is memory.cache_of[layer]
        cost = None if blocked else memory.claim_prefetch(key, layer, host.current)
        if cost is None:
            host.record.prefetch_dropped += 1
            return
        transfer = Transfer(key, layer, expert, memory.sizes[layer], group, host.step)
        transfer.prefetch = True
        transfer.target = target
        transfer.used = transfer.entered = False
        if cost and self._plan.overhead_on != "host":
            transfer.overhead = cost
        host.record.prefetches += 1
        host.send(transfer, now)

    def _one(self, key: int, layer: int, expert: int, target: int, group: IssueGroup, now: int) -> None:
        host, memory, record = self._host, self._host.memory, self._host.record
        cache = memory.cache_of[layer]
        assert cache is not None
        staged = self._plan.prefetch_into == "staging"
        transfer = Transfer(key, layer, expert, memory.sizes[layer], group, host.step)
        transfer.prefetch, transfer.target, transfer.used = True, target, False
        transfer.staged, transfer.high, transfer.claimed, transfer.entered = staged, not host.two_level, False, False
        possible = (staged or cache.admits(layer)) and (host.dram is None or host.dram.has_room(key))
        blocked = bool(host.waiting) and memory.cache_of[host.waiting[0][0] // host.n] is cache
        if not possible or (not host.two_level and (blocked or not host.claim_prefetch(transfer))):
            record.prefetch_dropped += 1
            return
        record.prefetches += 1
        host.send(transfer, now)
