"""The host: looks sets up, issues loads, keeps those that wait for bytes, makes predictions (rules 3, 5, 6, 8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from simpy import Event

from moesim.engine.reference.caches import DeviceMemory
from moesim.engine.reference.dram import DramTier
from moesim.engine.reference.events import At, Ticks, call_at, wake
from moesim.engine.reference.link import ComputedLink
from moesim.engine.reference.queued_link import QueuedLink
from moesim.engine.reference.record import Recorder
from moesim.engine.reference.storage import Reading, Storage
from moesim.engine.reference.transfer import IssueGroup, LayerSet, Transfer
from moesim.engine.spec import Phase
from moesim.plan.plan import Plan
from moesim.policies.cache import PLACED, RESIDENT
from moesim.policies.schedule.layerwise import Layerwise

__all__ = ["Host"]


class Host:
    """Everything between the router's choice and a server: one per run."""

    def __init__(self, env: Ticks, plan: Plan) -> None:
        self.env = env
        self.plan = plan
        self.record = Recorder(plan)
        self.memory = DeviceMemory(plan, self.record)
        self.schedule = Layerwise(demand_order=plan.demand_order, grouping=plan.grouping)
        self.n = plan.n_experts
        self.inflight: dict[int, Transfer] = {}
        self.waiting: deque[tuple[int, IssueGroup]] = deque()
        """Loads of the current set that wait for bytes of the cache: (id, issue)."""
        self.current: LayerSet | None = None
        self.step = 0
        self.stream_waits: Event | None = None
        """What an idle stream yields; triggered when a member of its set arrives."""
        self.position = -1
        """Of the last lookup: step * L + layer."""
        self.issued = 0
        self.issue_ps: list[int] = plan.issue_ps.tolist()
        self._one_token: list[bool] = (plan.step_tokens == 1).tolist()
        self._set_ptr = plan.set_ptr
        self.host_pays = plan.overhead_on == "host"
        self.two_level = plan.link is not None and plan.path != "storage" and plan.link.discipline == "two_level"
        self.storage = Storage(env, plan.storage, self) if plan.storage and plan.path != "link" else None
        self.dram = DramTier(plan, self, self.storage) if plan.path == "storage+link" and self.storage else None
        self.link: ComputedLink | QueuedLink | None = None
        if plan.path != "storage" and plan.link is not None:
            computed = plan.path == "link" and not self.two_level
            self.link = ComputedLink(plan.link, self) if computed else QueuedLink(env, plan.link, self)
        self.computed = isinstance(self.link, ComputedLink)
        self._readings: dict[int, Reading] = {}
        self._retry_due = False

    # ---- lookup and walk -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the device up to now, where arrivals are computed rather than scheduled."""
        if self.computed:
            self.link.settle(self.env.now)  # type: ignore[union-attr]

    def lookup(
        self, step: int, layer: int, experts: list[int], pairs: list[int], weights: list[int]
    ) -> tuple[LayerSet, tuple[int, int, int], list[int]]:
        """Classify a set, pin what is there. Returns the set, (hits, late, misses), and the walk's list in order."""
        memory, inflight, base = self.memory, self.inflight, layer * self.n
        state, staging, unused = memory.state, memory.staging, memory.unused
        cache = memory.cache_of[layer]
        assert cache is not None
        memory.clock.step, memory.clock.layer = step, layer
        self.position = target = step * self.plan.n_layers + layer
        keys = [base + e for e in experts]
        # one token picks distinct experts: one pair each, and first and last appearance are the same
        together = self._one_token[step]
        current = LayerSet(step, layer, base, keys, None if together else dict(zip(keys, pairs, strict=True)))
        if together:
            touched = keys
        else:
            begin = self._set_ptr[target]
            touched = [base + e for e in self.plan.set_touch[begin : begin + len(keys)].tolist()]
        if memory.placed[layer]:
            touched = [key for key in touched if state[key] != PLACED]
        cache.policy.lookups(touched)
        pinned, evictable, size = memory.residency.pinned, memory.residency.evictable, memory.sizes[layer]
        ready: list[int] = []
        late: list[int] = []
        missed: list[int] = []
        staged: list[int] = []
        for key in keys:
            there = state[key]
            if there == RESIDENT:
                ready.append(key)
                # `cache.pin` written out: this runs for every hit
                pinned[key] = 1
                if evictable[key]:
                    evictable[key] = 0
                    cache.evictable_bytes -= size
                if key in unused:
                    unused.discard(key)
                    self.record.prefetch_used += 1
            elif there == PLACED:
                ready.append(key)
            elif key in staging:
                ready.append(key)
                staged.append(key)
            elif key in inflight:
                late.append(key)
                self._late(inflight[key])
            else:
                missed.append(key)
        current.ready = ready
        current.pending = {*late, *missed}
        current.n_ready_hits = len(ready)
        self.current = current
        for key in staged:
            self.record.prefetch_used += 1
            if memory.move_in(key, layer):
                del staging[key]
                memory.free_staging += 1
            else:
                staging[key] = -1
        if staging:
            memory.free_passed(target, keys)
        walk = missed
        if self.two_level:
            self._cancel(target, current)
            walk = [k for k in keys if k in current.pending and not (k in inflight and inflight[k].in_service)]
        return current, (len(ready), len(late), len(missed)), self._in_demand_order(walk, keys, weights)

    def _late(self, transfer: Transfer) -> None:
        if not transfer.used:
            transfer.used = True
            transfer.cancelled = False
            self.record.prefetch_used += 1
        if transfer.claimed and not transfer.staged:
            self.memory.residency.pinned[transfer.key] = 1
        if self.two_level:
            transfer.high = True
            self.link.withdraw(transfer)  # type: ignore[union-attr]

    def _cancel(self, target: int, current: LayerSet) -> None:
        """two_level: what was fetched for this very set and was not selected need not come any more."""
        for transfer in [t for t in self.inflight.values() if 0 <= t.target <= target and t.key not in current.keys]:
            if transfer.prefetch and not transfer.used:
                self.link.cancel(transfer)  # type: ignore[union-attr]

    def vanish(self, transfer: Transfer) -> None:
        """A cancelled or dropped prefetch gives back its room; what it moved is wasted."""
        del self.inflight[transfer.key]
        chunks = self.plan.link.chunks if self.plan.link else 1
        self.record.bytes_wasted += -(-transfer.moved * transfer.size // chunks)
        if transfer.claimed:
            self.memory.unpaid.pop(transfer.key, None)
            if transfer.staged:
                self.memory.free_staging += 1
            else:
                self.memory.cache_of[transfer.layer].abandon(transfer.key)  # type: ignore[union-attr]
        if self.dram is not None:
            self.dram.release(transfer)
        self.retry_soon()

    def _in_demand_order(self, walk: list[int], keys: list[int], weights: list[int]) -> list[int]:
        if len(walk) < 2:
            return walk
        moved = {k: self.inflight[k].moved for k in walk if k in self.inflight} if self.two_level else {}
        return self.schedule.demands(walk, dict(zip(keys, weights, strict=True)), moved)

    def walk(self, order: list[int], layer: int) -> Generator[Event, Any, tuple[int, int]]:
        """The demand walk from now on: (tick at which the stream is free, host overhead)."""
        env, memory = self.env, self.memory
        h = env.now
        issue = self.issue_ps[layer]
        group = IssueGroup()
        host_cost = 0
        current = self.current
        assert current is not None
        for key in order:
            promoted = self.inflight.get(key)
            if promoted is not None:
                if promoted.claimed:
                    self._promote(promoted, h)
                elif self.waiting or not self._claim_promoted(key, promoted, h):
                    self._give_up(promoted)
                    self.wait_for_bytes(key, group)
                continue
            if self.waiting:
                self.wait_for_bytes(key, group)
                continue
            cost = memory.claim_demand(key, layer)
            if cost is None:
                self.wait_for_bytes(key, group)
                continue
            pause = issue
            if self.host_pays:
                pause += cost
                host_cost += cost
                cost = 0
            if pause:
                h += pause
                if not env.pass_to(pause, Phase.ISSUE):
                    yield At(env, pause, Phase.ISSUE)
            self._issue_demand(key, layer, cost, group, h)
        return h, host_cost

    def _give_up(self, transfer: Transfer) -> None:
        """A late prefetch without room must wait like a miss. It lets go of DRAM: else it could hold there what a load
        needs that has the room it waits for."""
        del self.inflight[transfer.key]
        if self.dram is not None:
            self.dram.release(transfer)
            self.retry_soon()

    def wait_for_bytes(self, key: int, group: IssueGroup) -> None:
        """A load joins those that wait for bytes of the cache."""
        self.record.waits_for_bytes += 1
        self.current.waiting += 1  # type: ignore[union-attr]
        self.waiting.append((key, group))

    def _issue_demand(
        self, key: int, layer: int, overhead: int, group: IssueGroup, at: int, waited: bool = False
    ) -> None:
        transfer = Transfer(key, layer, key - layer * self.n, self.memory.sizes[layer], group, self.step)
        transfer.overhead, transfer.waited = overhead, waited
        self.send(transfer, at)

    def _promote(self, transfer: Transfer, at: int) -> None:
        """two_level: a queued prefetch becomes a demand."""
        transfer.high = True
        self.link.promote(transfer, at)  # type: ignore[union-attr]

    def _claim_promoted(self, key: int, transfer: Transfer, at: int) -> bool:
        """A promoted prefetch that holds no room yet claims like a demand."""
        cost = self.memory.claim_demand(key, transfer.layer)
        if cost is None:
            return False
        transfer.claimed = transfer.entered = True
        transfer.staged = False
        transfer.overhead = 0 if self.host_pays else cost
        self._promote(transfer, at)
        return True

    def retry_soon(self) -> None:
        """Something may have made room: waiting loads try again in this tick's issue phase."""
        if not self._retry_due and (self.waiting or (self.dram is not None and self.dram.waiting)):
            self._retry_due = True
            call_at(self.env, 0, Phase.ISSUE, self._retry_now, -1)

    def _retry_now(self, _: object) -> None:
        self._retry_due = False
        self.retry(self.env.now)

    def retry(self, now: int) -> None:
        """Loads that wait for bytes claim again, strictly in order."""
        if self.dram is not None and self.dram.waiting:
            self.dram.retry(now)
        while self.waiting:
            key, group = self.waiting[0]
            layer = key // self.n
            cost = self.memory.claim_demand(key, layer)
            if cost is None:
                return
            self.waiting.popleft()
            self.current.waiting -= 1  # type: ignore[union-attr]
            self._issue_demand(key, layer, 0 if self.host_pays else cost, group, now, waited=True)

    # ---- the way of a transfer -------------------------------------------------------------------------------------

    def send(self, transfer: Transfer, at: int) -> None:
        """Issue a transfer: number it and hand it to the first server of its path."""
        transfer.number = self.issued
        self.issued += 1
        self.inflight[transfer.key] = transfer
        if self.computed:
            self.link.join(transfer, at)  # type: ignore[union-attr]
            return
        transfer.admitted = at
        if self.dram is not None:
            if not self.dram.ask(transfer, at) and not transfer.waited:
                self.record.waits_for_bytes += 1
        elif self.link is not None:
            transfer.ready = self.plan.link.chunks  # type: ignore[union-attr]
            transfer.in_dram = at
            self.link.join(transfer, at)
        else:
            assert self.storage is not None
            self._readings[transfer.key] = self.storage.submit(transfer)

    def join_link(self, transfer: Transfer, at: int) -> None:
        """(More of) an expert is in DRAM."""
        self.link.join(transfer, at)  # type: ignore[union-attr]

    def read_ended(self, reading: Reading) -> None:
        """One read of an expert has ended (phase 1); the last one on a path without a link ends the transfer."""
        transfer = reading.transfer
        now = self.env.now
        if self.dram is not None:
            self.dram.read_ended(reading, now)
            self.retry_soon()
        elif reading.unread == 0 and transfer is not None:
            del self._readings[transfer.key]
            transfer.end = transfer.in_dram = now
            call_at(self.env, 0, Phase.TRANSFER_END, lambda _: self._storage_end(transfer), transfer.number)

    def _storage_end(self, transfer: Transfer) -> None:
        self.record.bytes_loaded += transfer.size
        self.arrive(transfer, self.env.now)

    def arrive(self, transfer: Transfer, now: int) -> None:
        """All bytes of an expert are on the device (phase 2)."""
        key, layer = transfer.key, transfer.layer
        memory, current = self.memory, self.current
        del self.inflight[key]
        self.record.loads += 1
        self.record.arrived_bytes += transfer.size
        if transfer.staged:
            if not transfer.used:
                memory.staging[key] = transfer.target
                if transfer.target <= self.position:
                    memory.free_slot(key)
            elif memory.move_in(key, layer):
                memory.free_staging += 1
            else:
                memory.staging[key] = -1
        elif key not in memory.slots:
            cache = memory.cache_of[layer]
            assert cache is not None
            if not transfer.entered:
                cache.policy.insert(key, transfer.used)
            # `cache.arrive` written out: this runs for every load
            residency = memory.residency
            residency.state[key] = RESIDENT
            residency.by_layer[layer] += 1
            if not residency.pinned[key]:
                residency.evictable[key] = 1
                cache.evictable_bytes += transfer.size
            if not transfer.used:
                memory.unused.add(key)
        if self.dram is not None:
            self.dram.release(transfer)
        if current is not None and key in current.pending:
            current.pending.discard(key)
            current.ready.append(key)
            if current.last_arrival == now:
                current.arrivals.append(transfer)
            else:
                current.last_arrival = now
                current.arrivals = [transfer]
            if self.stream_waits is not None:
                wake(self.stream_waits, Phase.STREAM_PICK)
        if not self.computed:
            self.retry_soon()

    def claim_prefetch(self, transfer: Transfer) -> bool:
        """Room for a prefetch: a staging slot or bytes of its cache."""
        memory = self.memory
        if transfer.staged:
            if memory.free_staging == 0:
                return False
            memory.free_staging -= 1
            cost = memory.charge(transfer.key, memory.load_cost[transfer.layer])
        else:
            claimed = memory.claim_prefetch(transfer.key, transfer.layer, self.current)
            if claimed is None:
                return False
            cost = claimed
        transfer.claimed = True
        transfer.overhead = 0 if self.host_pays else cost
        return True

    def finish(self) -> None:
        """The run is over: book what is under way."""
        now = self.env.now
        if self.link is not None:
            self.link.finish(now)
        if self.storage is not None:
            self.storage.finish(now)
        self.memory.finish()
