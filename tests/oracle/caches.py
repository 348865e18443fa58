"""Rules 4 and 13 as the oracle does them: claims, victims, staging, initial content."""

from __future__ import annotations

from moesim.core.streams import draw, stream_id
from tests.oracle.state import NEVER, State, Transfer


class Caches(State):
    """Device caches."""

    def _tick(self) -> int:
        self.clock += 1
        return self.clock

    def _insert_initial(self) -> None:
        for i in self.p.initial:
            n = i // self.N
            c = self.cache_of[n]
            absent = i not in self.resident and i not in self.flying and i not in self.fixed and self.moe[n]
            if absent and self.used[c] + self.bytes[n] <= self.capacity[c]:
                self.resident[i] = None
                self.used[c] += self.bytes[n]
                self.recent[i] = self.entered[i] = self._tick()
                self.freq[i] = 0

    def _leave(self, i: int) -> None:
        del self.resident[i]
        self.used[self.cache_of[i // self.N]] -= self.bytes[i // self.N]
        self.freq.pop(i, None)
        self.pending.pop(i, None)

    def _next_use(self, i: int) -> int:
        return next((q for q in self.positions.get(i, ()) if q > self.last_pos), NEVER)

    def _first_out(self, candidates: list[int], c: int, e: int, attempt: int) -> tuple[int, int]:
        kind = self.p.eviction.kind
        if kind == "lru":
            return min(candidates, key=lambda i: self.recent[i]), attempt
        if kind == "fifo":
            return min(candidates, key=lambda i: self.entered[i]), attempt
        if kind == "lfu":
            return min(candidates, key=lambda i: (self.freq[i], self.recent[i])), attempt
        if kind == "lfu-lifetime":
            return min(candidates, key=lambda i: (self.lifetime.get(i, 0), self.recent[i])), attempt
        if kind == "belady":
            return max(candidates, key=lambda i: (self._next_use(i), self.bytes[i // self.N], i)), attempt
        assert kind == "random", kind
        layers = [n for n in range(self.L) if self.cache_of[n] == c]
        while True:
            u = draw(self.p.seed, stream_id("eviction"), *self.last, e, attempt)
            attempt += 1
            i = layers[0] * self.N + u % self.N if len(layers) == 1 else u % (self.L * self.N)
            if i in candidates:
                return i, attempt

    def _evictable(self, c: int, spared: set[int]) -> list[int]:
        if self.p.eviction.kind == "static":
            return []
        return [i for i in self.resident if self.cache_of[i // self.N] == c and i not in self.pins | spared]

    def _evict(self, i: int) -> int:
        self._leave(i)
        self.c["evictions"] += 1
        return self.dur["evict_overhead_ps"][i // self.N]

    def _claim_bytes(self, n: int, e: int, spared: set[int]) -> int | None:
        """Bytes for an expert of layer n; the overhead of its victims, or None if they cannot be had."""
        c, b = self.cache_of[n], self.bytes[n]
        candidates = self._evictable(c, spared)
        if self.capacity[c] - self.used[c] + sum(self.bytes[i // self.N] for i in candidates) < b:
            return None
        overhead = attempt = 0
        while self.capacity[c] - self.used[c] < b:
            victim, attempt = self._first_out(candidates, c, e, attempt)
            candidates.remove(victim)
            overhead += self._evict(victim)
        self._use(c, b)
        return overhead

    def _use(self, c: int, b: int) -> None:
        self.used[c] += b
        self.c["overshoot_peak"] = max(self.c["overshoot_peak"], self.used[c] - self.capacity[c])

    def _claim_demand_bytes(self, n: int, e: int) -> int | None:
        if self.p.evict == "after_layer":
            self._use(self.cache_of[n], self.bytes[n])
            return 0
        return self._claim_bytes(n, e, set())

    def _staged_only(self, n: int) -> bool:
        return self.bytes[n] > self.capacity[self.cache_of[n]] or self.p.eviction.kind == "static"

    def _claim_demand(self, t: Transfer) -> bool:
        """A demand claim for t; on success it is pinned, and its overheads are known."""
        c = self.cache_of[t.layer]
        victims: int | None = 0
        if self._staged_only(t.layer):
            if len(self.slots[c]) >= self.p.staging_slots:
                return False
            self.slots[c].add(t.id)
            t.claim = "slot"
        else:
            victims = self._claim_demand_bytes(t.layer, t.expert)
            if victims is None:
                return False
            t.claim = "cache"
            self.entered[t.id] = self._tick()
        t.demand_claim = True
        t.overhead = self.dur["load_overhead_ps"][t.layer] + victims
        self.pins.add(t.id)
        return True

    def _claim_prefetch(self, t: Transfer) -> bool:
        victims: int | None = 0
        if self.p.prefetch_into == "staging":
            if self.prefetch_slots >= self.p.prefetch_slots:
                return False
            self.prefetch_slots += 1
            t.claim = "prefetch"
        else:
            spared = self.current if self.p.evict == "after_layer" else set()
            victims = self._claim_bytes(t.layer, t.expert, spared)
            if victims is None:
                return False
            t.claim = "cache"
        t.overhead = self.dur["load_overhead_ps"][t.layer] + victims
        if t.used:
            self.pins.add(t.id)
        return True

    def _release(self, t: Transfer) -> None:
        """Undo what a prefetch holds (cancelled or dropped)."""
        if t.claim == "cache":
            self.used[self.cache_of[t.layer]] -= self.bytes[t.layer]
        elif t.claim == "prefetch":
            self.prefetch_slots -= 1
        t.claim = ""
        if t.entry is not None:
            t.entry.pins -= 1
        t.state = "gone"
        if t in self.queue:
            self.queue.remove(t)
        if self.flying.get(t.id) is t:
            del self.flying[t.id]

    def _free_staged(self, i: int) -> None:
        del self.staged[i]
        self.prefetch_slots -= 1
        self.pending.pop(i, None)

    def _staged_to_cache(self, t: Transfer) -> bool:
        """A complete prefetch in staging moves into the cache, if a demand claim succeeds."""
        victims = None if self._staged_only(t.layer) else self._claim_demand_bytes(t.layer, t.expert)
        if victims is None:
            return False
        self.resident[t.id] = t
        self.entered[t.id] = self._tick()
        if self.p.overhead_on == "stream":
            self.pending[t.id] = self.pending.get(t.id, 0) + victims
        return True
