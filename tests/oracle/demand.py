"""Rules 3, 5 and 8 as the oracle does them: lookup, walk, predictions."""

from __future__ import annotations

from fractions import Fraction

from moesim.core.streams import draw, stream_id, threshold
from tests.oracle.path import Path
from tests.oracle.state import NEVER, Member, Transfer


class Demand(Path):
    """Who asks for experts."""

    def _lookup(self) -> None:
        s, n = self.s, self.l
        self.stage, self.event_at = "walk", NEVER
        self.looked_up.add((s, n))
        self.last, self.last_pos = (s, n), s * self.L + n
        self.members = self.sets[s * self.L + n]
        self.current = {m.id for m in self.members}
        for m in self.members:
            if m.id in self.fixed or m.id in self.resident or m.id in self.staged:
                m.kind, m.ready = "hit", True
                self.hits[s][n] += 1
            elif m.id in self.flying:
                m.kind, m.transfer = "late", self.flying[m.id]
                self.late[s][n] += 1
            else:
                m.kind = "miss"
                self.misses[s][n] += 1
        picks = self.tokens[s * self.L + n]
        last = {e: j for j, e in enumerate(picks)}
        for m in sorted(self.members, key=lambda m: last[m.expert]):
            if m.id not in self.fixed:
                self.recent[m.id] = self._tick()
                self.lifetime[m.id] = self.lifetime.get(m.id, 0) + 1
                self.freq[m.id] = self.freq.get(m.id, 0) + 1 if m.kind == "hit" else 1
        for m in self.members:
            t = m.transfer or self.staged.get(m.id) or self.resident.get(m.id)
            if t is not None:
                t.used = True
            if m.kind == "hit" or (m.transfer is not None and m.transfer.claim):
                self.pins.add(m.id)
        for m in self.members:
            if m.id in self.staged and self._staged_to_cache(self.staged[m.id]):
                del self.staged[m.id]
                self.prefetch_slots -= 1
        for i, t in list(self.staged.items()):
            if t.target is not None and t.target <= (s, n) and i not in self.current:
                self._free_staged(i)
        todo = [m for m in self.members if m.kind == "miss"]
        if self.two:
            for t in list(self.flying.values()):
                if t.target is not None and t.target <= (s, n) and not t.used and t.id not in self.current:
                    self._cancel(t)
            for m in self.members:
                if m.transfer is not None:
                    self._promote(m.transfer)
                    if m.transfer.state == "held":
                        todo.append(m)
        by_weight = lambda m: (-m.weight, m.order)  # noqa: E731
        order = {
            "router_weight": by_weight,
            "expert_id": lambda m: m.expert,
            "ready_first": lambda m: (-(m.transfer.chunks if m.transfer else 0), *by_weight(m)),
        }
        self.walk = sorted(todo, key=order[self.p.demand_order])
        self.h, self.claimed, self.walk_loads, self.walk_host = self.now, None, 0, 0
        self.shared_left, self.first_pick = self.dur["shared_ps"][s][n], True

    def _cancel(self, t: Transfer) -> None:
        if t.state == "tail":
            return
        serving = self.service is not None and self.service.transfer is t
        if serving and self.service is not None and self.service.at != NEVER:
            if t.chunks + 1 == self.n:
                return
            t.doomed = True
            return
        if serving:
            self._leave_link()
        self._release(t)
        self.c["prefetch_cancelled"] += 1

    def _promote(self, t: Transfer) -> None:
        """At R, before the walk: HIGH from now on; out of the queue until the walk comes to it."""
        t.demanded, t.doomed = True, False
        if t in self.queue:
            self.queue.remove(t)
        if t.state in ("service", "tail"):
            self.joins += 1
            t.key = (self.joins, t.num)
        else:
            t.state = "held"

    def _walk(self) -> bool:
        """One action of the host at its clock h: issue, claim, or the end of the walk."""
        if self.h > self.now:
            return False
        if self.claimed is not None:
            t, self.claimed = self.claimed, None
            self._issue(t)
        elif self.walk:
            m = self.walk.pop(0)
            t = m.transfer
            if t is not None:
                if t.claim or (not self.waiting and self._claim_demand(t)):
                    self._join_if_there(t)
                else:
                    self._release(t)
                    m.transfer = None
                    self._wait_for_bytes(m)
            else:
                t = self._demand(m)
                if self.waiting or not self._claim_demand(t):
                    self._wait_for_bytes(m)
                else:
                    m.transfer = self.claimed = self.flying[t.id] = t
                    host = t.overhead if self.p.overhead_on == "host" else 0
                    self.h += self.dur["issue_ps"][self.l] + host
                    self.walk_loads, self.walk_host = self.walk_loads + 1, self.walk_host + host
        else:
            control = self.walk_loads * self.dur["issue_ps"][self.l]
            self._account("control", control)
            self._account("management", self.walk_host)
            self._slice("stream", "control", self.now - control - self.walk_host, self.now - self.walk_host)
            self._slice("stream", "management", self.now - self.walk_host, self.now)
            self.stage, self.free_since = "groups", self.now
        return True

    def _demand(self, m: Member) -> Transfer:
        return Transfer(self.l, m.expert, m.id, ("walk", self.s, self.l), demanded=True, used=True)

    def _wait_for_bytes(self, m: Member) -> None:
        self.waiting.append(m)
        self.c["waits_for_bytes"] += 1

    def _retry_waiting(self) -> bool:
        m = self.waiting[0]
        t = self._demand(m)
        if not self._claim_demand(t):
            return False
        self.waiting.pop(0)
        m.transfer = self.flying[t.id] = t
        t.waited = True
        self._issue(t)
        return True

    def _present(self, i: int) -> bool:
        """Resident, complete in staging, or pinned by placement."""
        in_slot = any(i in slots for slots in self.slots) and i not in self.flying
        return i in self.fixed or i in self.resident or i in self.staged or in_slot

    def _coming(self, i: int) -> bool:
        return i in self.flying or any(m.id == i for m in self.waiting)

    def _predict_due(self) -> bool:
        due = [q for q in self.predictions if q[0] <= self.now]
        if not due or self.stage == "walk":
            return False
        q = min(due, key=lambda x: (x[1], x[2], x[3]))
        self.predictions.remove(q)
        self.asked += 1
        for ts, tl, e in self._predicted(q[1], q[2]):
            self._prefetch(int(ts), int(tl), int(e))
        return True

    def _prefetch(self, ts: int, tl: int, e: int) -> None:
        i = tl * self.N + e
        if ts * self.L + tl <= self.last_pos:
            self.c["prefetch_stale"] += 1
        elif self._present(i):
            if self.p.touch_on_predict and i in self.resident:
                self.recent[i] = self._tick()
        elif i in self.flying and self.flying[i].doomed:
            self.flying[i].doomed, self.flying[i].target = False, (ts, tl)
        elif not self._coming(i):
            t = Transfer(tl, e, i, ("prediction", self.asked), target=(ts, tl))
            refused = (self.p.prefetch_into == "cache" and self._staged_only(tl)) or (
                self.p.path == "storage+link" and not self._dram_can(t)
            )
            if not self.two and not refused:
                blocked = any(self.cache_of[m.id // self.N] == self.cache_of[tl] for m in self.waiting)
                refused = blocked or not self._claim_prefetch(t)
            if refused:
                self.c["prefetch_dropped"] += 1
            else:
                self._issue(t)

    def _predicted(self, s: int, n: int) -> list[tuple[int, int, int]]:
        p, kind = self.p, self.p.prefetch.kind
        later = [m for m in range(n + 1, self.L) if self.moe[m]]
        if self.script is not None:
            return list(self.script.predict(None, s, n))
        if kind == "previous":
            ts, tl = (s, later[0]) if later else (s + 1, self.moe.index(True))
            if ts >= self.S or ts == 0 or p.step_prefill[ts]:
                return []
            if p.step_batch[ts] != p.step_batch[s] or p.step_batch[ts - 1] != p.step_batch[ts]:
                return []
            i = (ts - 1) * self.L + tl
            if i > self.last_pos:
                return []
            if p.step_prefill[ts - 1]:
                k = int(p.top_k[tl])
                return [(ts, tl, e) for e in self.tokens[i][len(self.tokens[i]) - k :]] if self.tokens[i] else []
            return [(ts, tl, m.expert) for m in self.sets[i]]
        assert kind == "next_gate", kind
        return [] if p.step_prefill[s] else self._next_gate(s, later)

    def _next_gate(self, s: int, later: list[int]) -> list[tuple[int, int, int]]:
        seed, params = self.p.seed, self.p.prefetch.params
        most, out = int(params["experts"]), []
        for d, (recall, share, t) in enumerate(zip(params["recall"], params["precision"], later, strict=False), 1):
            precision = Fraction(share)
            truth = [m.expert for m in sorted(self.sets[s * self.L + t], key=lambda m: (-m.weight, m.order))]
            known = {e for e in range(self.N) if self._present(t * self.N + e) or t * self.N + e in self.flying}
            odds = threshold(Fraction(recall))
            right = [e for r, e in enumerate(truth) if draw(seed, stream_id("prefetch"), s, t, r, d) < odds][:most]
            while True:
                x = sum(e not in known for e in right) * (1 - precision) / precision
                more = draw(seed, stream_id("prefetch-count"), s, t, 0, d) < threshold(x - x.__floor__())
                if len(right) + x.__floor__() + more <= most:
                    break
                right.pop()
            left = [e for e in range(self.N) if e not in truth and e not in known]
            wrong = [
                left.pop(draw(seed, stream_id("prefetch-wrong"), s, t, j, d) % len(left))
                for j in range(min(x.__floor__() + more, len(left)))
            ]
            out += [(s, t, e) for e in right + wrong]
        return out
