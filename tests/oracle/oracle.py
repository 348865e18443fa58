"""The test oracle: `moesim.engine.spec` transcribed as literally as plain Python allows, for small plans only.

Time jumps from event to event; at each tick `_act` scans phases 1 to 8 and performs the first action it finds, again
and again until none is left. Every chunk end is an event. It was written from the specification alone, before and
apart from the engines, and shares no code with them but the plan, the result and the random streams.
"""

from __future__ import annotations

import numpy as np

from moesim.errors import StuckError
from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result
from tests.oracle.state import NEVER
from tests.oracle.stream import Stream

__all__ = ["simulate"]


class _Oracle(Stream):
    """Rule 1."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._insert_initial()

    def _act(self) -> bool:
        """The first action that is possible at this tick, in the order of the phases."""
        if self._read_ends() or self._transfer_ends():
            return True
        if self.busy_until is not None and self.busy_until <= self.now:
            self.busy_until, after = None, self.after
            after()
            return True
        if self.stage == "gap" and self.event_at <= self.now:
            self._step_ended()
            return True
        if self.stage == "control" and self.event_at <= self.now:
            self._lookup()
            if self.p.prefetch_source == "lookup":
                self._source()
            return True
        for t in self.dram_waiting[:1]:
            if self._ask_dram(t, ahead=True):
                self.dram_waiting.pop(0)
                return True
        if self.waiting and self._retry_waiting():
            return True
        if (self.stage == "walk" and self._walk()) or self._predict_due() or self._stream_pick():
            return True
        return (bool(self.lanes) and self._storage_pick()) or self._link_pick()

    def run(self) -> Result:
        self.over = self.S == 0
        while not self.over:
            while not self.over and self._act():
                pass
            if self.over:
                break
            times = [self.busy_until, self.event_at, *(lane[0] for lane in self.lanes if lane)]
            times += [self.service.at] if self.service else []
            times += [self.h] if self.stage == "walk" else []
            times += [q[0] for q in self.predictions if self.stage != "walk"]
            later = [t for t in times if t is not None and t != NEVER]
            if not later:
                raise StuckError(f"nothing can happen after tick {self.now}, step {self.s}, layer {self.l}")
            assert min(later) > self.now
            self.now = min(later)
        return self._result()

    def _result(self) -> Result:
        if self.service:
            self._leave_link()
        for k, lane in enumerate(self.lanes):
            if lane:
                self.c["storage_busy"] += self.now - lane[1]
                self._slice(f"storage {k}", "read", lane[1], self.now, lane[2])
        self.c["bytes_wasted"] = sum(self._moved(t) for t in self.prefetched if not t.used)
        self.c["prefetch_used"] = sum(t.used for t in self.prefetched)
        for name, rows in (("hits", self.hits), ("late", self.late), ("misses", self.misses)):
            self.c[name] = sum(map(sum, rows))
        self.c["lookups"] = self.c["hits"] + self.c["late"] + self.c["misses"]
        moved = [sum(b for at, b in self.arrivals if a < at <= z) for a, z in zip(self.start, self.end, strict=True)]
        grid = lambda rows: np.array(rows, dtype=np.int64).reshape(self.S, self.L)  # noqa: E731
        return Result(
            engine="oracle",
            step_start=np.array(self.start, dtype=np.int64),
            step_end=np.array(self.end, dtype=np.int64),
            layer_end=grid(self.layer_end),
            breakdown_ps=np.array([[t[b] for b in BREAKDOWN] for t in self.took], dtype=np.int64),
            hits=grid(self.hits),
            late=grid(self.late),
            misses=grid(self.misses),
            layer_stall_ps=grid(self.stall),
            step_bytes=np.array(moved, dtype=np.int64),
            residency=grid(self.residency).astype(np.int32),
            counters=self.c,
            waits=self.waits,
            timeline=sorted(self.slices, key=lambda x: (x.start, x.end, x.lane)),
        )


def simulate(plan: Plan) -> Result:
    """Run a plan. Raises StuckError when nothing can happen although the run is not over."""
    return _Oracle(plan).run()
