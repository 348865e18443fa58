"""Rules 6 and 7 as the oracle does them: issue, DRAM, storage, link."""

from __future__ import annotations

from typing import Any

from tests.oracle.caches import Caches
from tests.oracle.state import NEVER, Entry, Service, Transfer, up


class Path(Caches):
    """From issue to arrival."""

    def _issue(self, t: Transfer) -> None:
        t.num, t.issued = self.numbers, self.now
        self.numbers += 1
        self.flying[t.id] = t
        if t.target is not None:
            self.c["prefetches"] += 1
            self.prefetched.append(t)
        if self.p.path == "link":
            self._join_if_there(t)
        elif self.p.path == "storage":
            t.state = "coming"
            self._queue_reads(t)
        elif not self._ask_dram(t):
            assert t.target is None, "a prefetch asks only when the answer is yes"
            t.state = "dram"
            self.dram_waiting.append(t)
            self.c["waits_for_bytes"] += not t.waited
            t.waited = True

    def _queue_reads(self, t: Transfer) -> None:
        assert self.p.storage is not None
        t.reads_left = len(self.p.storage.read_sizes[t.layer])
        self.reads += [(t, k) for k in range(t.reads_left)]

    def _dram_evictable(self) -> list[int]:
        return [i for i, d in self.dram.items() if d.pins == 0 and d.complete_at >= 0]

    def _dram_bytes(self, ids: Any) -> int:
        return sum(self.bytes[i // self.N] for i in ids)

    def _dram_can(self, t: Transfer, *, ahead: bool = False) -> bool:
        if t.id in self.dram:
            return True
        if self.dram_waiting and not ahead:
            return False
        kept = self._dram_bytes(set(self.dram) - set(self._dram_evictable()))
        return kept + self.bytes[t.layer] <= self.p.dram_capacity

    def _ask_dram(self, t: Transfer, *, ahead: bool = False) -> bool:
        if not self._dram_can(t, ahead=ahead):
            return False
        assert self.p.storage is not None
        if t.id not in self.dram:
            while self._dram_bytes(self.dram) + self.bytes[t.layer] > self.p.dram_capacity:
                del self.dram[min(self._dram_evictable(), key=lambda i: self.dram[i].key)]
            self.dram[t.id] = Entry(t.layer, t.num, [False] * len(self.p.storage.read_sizes[t.layer]))
            self._queue_reads(t)
        t.entry, t.claimed_dram = self.dram[t.id], self.now
        t.entry.key = t.num
        t.entry.pins += 1
        t.state = "coming"
        self._join_if_there(t)
        return True

    def _chunk_there(self, t: Transfer) -> bool:
        """Whether the next chunk of t is in DRAM (always, without storage)."""
        if t.entry is None:
            return True
        assert self.p.storage is not None
        ends, b, i = self.p.storage.read_ends[t.layer], self.bytes[t.layer], t.chunks + 1
        low, high = up((i - 1) * b, self.n), up(i * b, self.n)
        starts = (0, *ends[:-1])
        return all(done for a, z, done in zip(starts, ends, t.entry.ended, strict=True) if a < high and z > low)

    def _join_if_there(self, t: Transfer) -> None:
        """Join the link queue (its tail) if the first chunk is there, or if it has been on the link before."""
        if t.first is None and not self._chunk_there(t):
            t.state = "coming"
            return
        t.state = "queued"
        self.joins += 1
        t.key = (self.joins, t.num) if self.two else (self.now, t.num)
        self.queue.append(t)

    def _read_ends(self) -> bool:
        ended = [(lane[2].num, lane[3], k) for k, lane in enumerate(self.lanes) if lane and lane[0] <= self.now]
        if not ended:
            return False
        k = min(ended)[2]
        lane = self.lanes[k]
        assert lane is not None and self.p.storage is not None
        _, since, t, read = lane
        self.lanes[k] = None
        size = self.p.storage.read_sizes[t.layer][read]
        self.c["bytes_read"] += size
        self.c["storage_busy"] += self.now - since
        self._slice(f"storage {k}", "read", since, self.now, t, size)
        t.reads_left -= 1
        if self.p.path == "storage+link":
            entry = self.dram[t.id]
            entry.ended[read] = True
            if all(entry.ended):
                entry.complete_at = self.now
            for other in sorted(self.flying.values(), key=lambda f: f.num):
                if other.entry is entry and other.state == "coming":
                    self._join_if_there(other)
        return True

    def _demanded(self, t: Transfer) -> bool:
        """Whether a demanded transfer waits for the reads that t queued (it may be another, if t was cancelled)."""
        return any(f.id == t.id and f.demanded and f.state != "dram" for f in self.flying.values())

    def _storage_pick(self) -> bool:
        assert self.p.storage is not None
        free = [k for k, lane in enumerate(self.lanes) if lane is None]
        if not free or not self.reads:
            return False
        self.reads.sort(key=lambda r: (self.two and not self._demanded(r[0]), r[0].num, r[1]))
        picked, self.reads = self.reads[: len(free)], self.reads[len(free) :]
        busy = len(self.lanes) - len(free) + len(picked)
        for k, (t, read) in zip(free, picked, strict=False):
            size = self.p.storage.read_sizes[t.layer][read]
            self.lanes[k] = (self.now + self.p.storage.read_ps[size][busy], self.now, t, read)
        return True

    def _calls(self, t: Transfer, i: int) -> int:
        """c(i): what the calls up to chunk i cost."""
        k = self.p.link
        assert k is not None
        if k.method == "loop":
            return up(i * k.pieces, self.n) * k.copy_overhead_ps
        return k.copy_overhead_ps if t.first and i >= 1 else 0

    def _serve(self, t: Transfer) -> None:
        k = self.p.link
        assert k is not None
        self.queue.remove(t)
        resumed = t.first is not None
        t.state = "service"
        if t.first is None:
            t.first = t.issue_of not in self.served
            self.served.add(t.issue_of)
        begin = self.now + (k.wakeup_ps if self.two else 0) + (k.resume_ps if resumed else 0)
        j, d = t.chunks, k.transfer_ps[t.layer]
        self.service = Service(t, self.now, demanded=t.demanded, moved=self._moved(t))
        for i in range(j + 1, self.n + 1):
            moved = up(i * d, self.n) - up(j * d, self.n)
            self.service.ends[i] = begin + self._calls(t, i) - self._calls(t, j) + moved
        self.service.at = self.service.ends[j + 1]

    def _leave_link(self) -> None:
        v = self.service
        assert v is not None
        self.c["link_busy"] += self.now - v.since
        t = v.transfer
        self._slice("link", "copy" if v.demanded else "prefetch", v.since, self.now, t, self._moved(t) - v.moved)
        self.service = None

    def _moved(self, t: Transfer) -> int:
        return up(t.chunks * self.bytes[t.layer], self.n)

    def _transfer_ends(self) -> bool:
        if self.p.path == "storage":
            ended = [t for t in self.flying.values() if t.state == "coming" and t.reads_left == 0]
            if ended:
                t = min(ended, key=lambda f: f.num)
                self.c["bytes_loaded"] += self.bytes[t.layer]
                t.chunks = 1
                self._arrive(t)
            return bool(ended)
        v = self.service
        if v is None or v.at > self.now:
            return False
        t = v.transfer
        if t.state == "service":  # a chunk ends
            before = self._moved(t)
            t.chunks += 1
            self.c["bytes_loaded"] += self._moved(t) - before
            v.at = NEVER
            if t.doomed:
                self._leave_link()
                self._release(t)
                self.c["prefetch_cancelled"] += 1
                return True
            if t.chunks < self.n:
                return True
            t.state = "tail"
            v.at = self.now + (t.overhead if self.p.overhead_on == "link" else 0)
            if v.at > self.now:
                return True
        self._leave_link()
        if t.entry is not None:
            t.entry.pins -= 1
        self._arrive(t)
        return True

    def _arrive(self, t: Transfer) -> None:
        t.state = "arrived"
        del self.flying[t.id]
        self.c["loads"] += 1
        self.arrivals.append((self.now, self.bytes[t.layer]))
        if self.p.overhead_on == "stream":
            self.pending[t.id] = t.overhead
        if t.target is not None and not t.used:
            self.recent[t.id] = self._tick()
            self.freq[t.id] = 0
        if t.claim == "cache":
            self.resident[t.id] = t if t.target is not None else None
            if not t.demand_claim:
                self.entered[t.id] = self._tick()
        elif t.claim == "prefetch":
            if t.used:
                if self._staged_to_cache(t):
                    self.prefetch_slots -= 1
                else:
                    self.staged[t.id] = t
            else:
                self.staged[t.id] = t
                if t.target[0] * self.L + t.target[1] <= self.last_pos:
                    self._free_staged(t.id)
        for m in self.members:
            if m.transfer is t:
                m.ready, m.arrived = True, self.now

    def _link_pick(self) -> bool:
        v = self.service
        high = [t for t in self.queue if t.demanded and self._chunk_there(t)]
        if v is not None:
            if v.at != NEVER:
                return False
            t = v.transfer
            if not self._chunk_there(t) or (self.two and not t.demanded and high):
                self._leave_link()
                t.state = "queued"
                self.queue.append(t)
            else:
                v.at = v.ends[t.chunks + 1]
            return True
        able = high if self.two and high else [t for t in self.queue if self._chunk_there(t)]
        if not able:
            return False
        t = min(able, key=lambda f: f.key)
        if self.two and not t.claim and not self._claim_prefetch(t):
            self.c["prefetch_dropped"] += 1
            self._release(t)
        else:
            self._serve(t)
        return True
