"""Rules 2 and 9 to 11 as the oracle does them: operations, groups, waits, steps."""

from __future__ import annotations

from typing import Any

from moesim.results.result import Slice, Wait
from tests.oracle.demand import Demand
from tests.oracle.state import NEVER, Transfer


class Stream(Demand):
    """The stream."""

    def _account(self, name: str, ticks: int) -> None:
        self.took[self.s][name] += ticks

    def _slice(self, lane: str, name: str, a: int, b: int, t: Transfer | None = None, size: int = 0,
               experts: tuple[int, ...] = ()) -> None:  # fmt: skip
        window, step = self.p.timeline_steps, min(self.s, self.S - 1)  # what the end of the run cuts is its last step's
        if window is None or a == b or not window[0] <= step <= window[1]:
            return
        layer = t.layer if t else self.l if self.l < self.L else -1
        who = (t.expert,) if t else experts
        self.slices.append(Slice(lane, name, a, b, step, layer, who, t.num if t else -1, size))

    def _op(self, parts: list[tuple[str, int]], after: Any, experts: tuple[int, ...] = ()) -> bool:
        at = self.now
        for name, ticks in parts:
            self._account(name, ticks)
            self._slice("stream", name, at, at + ticks, experts=experts if name in ("experts", "management") else ())
            self.c["stream_busy"] += ticks
            at += ticks
        self.busy_until, self.after = at, after
        return True

    def _stream_pick(self) -> bool:
        s, n, d = self.s, self.l, self.dur
        if self.busy_until is not None:
            return False
        if self.stage == "attention":
            if self.sets[s * self.L + n] and self.p.prefetch_source == "layer_start":
                self._source()
            return self._op([("attention", d["attention_ps"][s][n])], self._attention_ended)
        if self.stage == "dense":
            return self._op([("dense", d["dense_ps"][s][n])], self._layer_ended)
        if self.stage == "router":
            return self._op([("router", d["router_ps"][s][n])], self._router_ended)
        if self.stage == "head":
            return self._op([("head", d["head_ps"][s])], self._head_ended)
        return self.stage == "groups" and self._group_pick()

    def _source(self) -> None:
        if self.script is not None or self.p.prefetch.kind != "none":
            self.predictions.append((self.now + self.p.t_pred_ps, self.s, self.l, 0))

    def _attention_ended(self) -> None:
        if not self.moe[self.l]:
            self.stage = "dense"
        elif not self.sets[self.s * self.L + self.l]:
            self._layer_ended()
        else:
            self.stage = "router"

    def _router_ended(self) -> None:
        control = self.dur["d2h_sync_ps"][self.l] + self.dur["lookup_ps"][self.l]
        self._account("control", control)
        self._slice("stream", "control", self.now, self.now + control)
        self.stage, self.event_at = "control", self.now + control

    def _group_pick(self) -> bool:
        ready = [m for m in self.members if m.ready and not m.done]
        rest = [m for m in self.members if not m.done]
        first, self.first_pick = self.first_pick, False
        shared = bool(self.shared_left)
        how = self.p.grouping
        if how == "each":
            if shared:
                ready = []
            order = {m.id: (0, m.expert) if m.kind == "hit" else (1, m.arrived, m.transfer.num) for m in ready}  # type: ignore[union-attr]
            chosen = sorted(ready, key=lambda m: order[m.id])[:1]
        elif how == "hits_then_arrived" or (how == "hits_then_rest" and first):
            chosen = ready
        else:
            ids = {m.id for m in rest if not m.ready}
            bytes_wanted = self.waiting or any(t.id in ids for t in self.dram_waiting)
            flying = any(i in self.flying for i in ids)
            chosen = ready if not ids or (bytes_wanted and not flying) else []
        if not chosen and not (shared and first and how != "after_all"):
            return False
        if self.now > self.free_since:
            self._waited()
        parts = []
        if self.p.overhead_on == "stream":
            parts.append(("management", sum(self.pending.pop(m.id, 0) for m in chosen)))
        if shared:
            parts.append(("shared", self.shared_left))
            self.shared_left = 0
        if chosen:
            table = self.p.group_ps[int(self.p.group_class[self.l])]
            parts.append(("experts", int(table[sum(m.pairs for m in chosen), len(chosen)])))
        self.group = chosen
        return self._op(parts, self._group_ended, tuple(m.expert for m in chosen))

    def _waited(self) -> None:
        """Rule 11: the stream waited from free_since to now."""
        a, b = self.free_since, self.now
        m = min((m for m in self.members if m.arrived == b), key=lambda m: m.expert)
        t = m.transfer
        assert t is not None
        had = min(max(t.issued, t.claimed_dram, a), b)
        there = b if self.p.path == "storage" else had
        if t.entry is not None:
            there = min(max(t.entry.complete_at, had), b)
        self._account("stall_cache", had - a)
        self._account("stall_storage", there - had)
        self._account("stall_link", b - there)
        self.stall[self.s][self.l] += b - a
        self.waits.append(Wait(self.s, self.l, a, b, m.expert, t.num))
        if self.p.timeline_steps and self.p.timeline_steps[0] <= self.s <= self.p.timeline_steps[1]:
            self.slices.append(Slice("stream", "wait", a, b, self.s, self.l, (m.expert,), t.num))

    def _group_ended(self) -> None:
        for m in self.group:
            m.done = True
            self.pins.discard(m.id)
            self.slots[self.cache_of[self.l]].discard(m.id)
            if m.id in self.staged:
                self._free_staged(m.id)
        self.free_since = self.now
        if all(m.done for m in self.members) and not self.shared_left:
            self._trim()

    def _trim(self) -> None:
        c, overhead = self.cache_of[self.l], 0
        if self.p.evict == "after_layer":
            candidates, attempt = self._evictable(c, self.current), 0
            while self.used[c] > self.capacity[c] and candidates:
                victim, attempt = self._first_out(candidates, c, 0, attempt)
                candidates.remove(victim)
                overhead += self._evict(victim)
        if overhead:
            self.stage = "trim"
            self._op([("management", overhead)], self._layer_ended)
        else:
            self._layer_ended()

    def _layer_ended(self) -> None:
        self.layer_end[self.s][self.l] = self.now
        self.current, self.members = set(), []
        self.l += 1
        self.stage = "attention" if self.l < self.L else "head"

    def _head_ended(self) -> None:
        gap = self.dur["host_gap_ps"][self.s]
        if gap == 0:
            self._step_ended()
        else:
            self._account("host_gap", gap)
            self._slice("stream", "host_gap", self.now, self.now + gap)
            self.stage, self.event_at = "gap", self.now + gap

    def _step_ended(self) -> None:
        s, batch = self.s, self.p.step_batch
        self.end[s] = self.now
        assert sum(self.took[s].values()) == self.now - self.start[s]
        for i in [*self.resident, *self.fixed]:
            self.residency[s][i // self.N] += 1
        if self.p.reset == "sequence" and (s + 1 == self.S or batch[s + 1] != batch[s]):
            for i in list(self.resident):
                self._leave(i)
            for i in list(self.staged):
                self._free_staged(i)
            for known in (self.recent, self.entered, self.freq, self.lifetime):
                known.clear()
            self._insert_initial()
        self.s, self.l, self.event_at = s + 1, 0, NEVER
        self.over = self.s == self.S
        if not self.over:
            self.start[self.s] = self.now
            self.stage = "attention"
