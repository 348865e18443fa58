"""What a run writes down: counters, per-layer counts, the timeline window, waits. Plain lists; arrays at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, COUNTERS, Result, Slice, Wait

__all__ = ["Recorder"]


class Recorder:
    """Accumulates one run; `result` makes it a `Result`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.lookups = self.hits = self.late = self.misses = 0
        self.evictions = self.loads = 0
        self.bytes_loaded = self.bytes_read = self.bytes_wasted = 0
        self.prefetches = self.prefetch_used = self.prefetch_dropped = self.prefetch_stale = self.prefetch_cancelled = 0
        self.waits_for_bytes = self.overshoot_peak = 0
        self.stream_busy = self.link_busy = self.storage_busy = 0
        self.step_start: list[int] = []
        self.step_end: list[int] = []
        self.step_bytes: list[int] = []
        self.arrived_bytes = 0
        """Bytes of arrivals since the last step ended."""
        self.layers: list[tuple[int, int, tuple[int, int, int]]] = []
        """End, ticks waited, (hits, late, misses) of each layer."""
        self.breakdown: list[list[int]] = []
        self.residency: list[list[int]] = []
        self.waits: list[tuple[int, int, int, int, int, int]] = []
        """Fields of `Wait`."""
        self.timeline: list[Slice] = []
        self._window = plan.timeline_steps or (1, 0)
        self.recording = False
        """Whether the current step lies in the timeline window."""

    def begin_step(self, step: int, now: int) -> list[int]:
        """Open a step; returns its breakdown row."""
        self.step_start.append(now)
        self.recording = self._window[0] <= step <= self._window[1]
        row = [0] * len(BREAKDOWN)
        self.breakdown.append(row)
        return row

    def end_step(self, now: int, residency: Sequence[int]) -> None:
        """Close the step."""
        self.step_end.append(now)
        self.step_bytes.append(self.arrived_bytes)
        self.arrived_bytes = 0
        self.residency.append(list(residency))

    def end_layer(self, now: int, counts: tuple[int, int, int], stall: int) -> None:
        """Close a layer: hits, late, misses and the ticks its waits took."""
        self.layers.append((now, stall, counts))

    def slice(
        self,
        lane: str,
        name: str,
        start: int,
        end: int,
        step: int,
        layer: int,
        *,
        experts: Sequence[int] = (),
        transfer: int = -1,
        size: int = 0,
    ) -> None:
        """One bar of the timeline, if the window is open and the bar has a length."""
        if self.recording and end > start:
            self.timeline.append(Slice(lane, name, start, end, step, layer, tuple(experts), transfer, size))

    def result(self) -> Result:
        """The arrays of the finished run."""
        shape = (self._plan.n_steps, self._plan.n_layers)

        def table(values: Iterable[int]) -> np.ndarray:
            return np.fromiter(values, dtype=np.int64, count=len(self.layers)).reshape(shape)

        hits, late, misses = (table(counts[i] for _, _, counts in self.layers) for i in range(3))
        self.hits, self.late, self.misses = int(hits.sum()), int(late.sum()), int(misses.sum())
        self.lookups = self.hits + self.late + self.misses
        return Result(
            engine="simpy",
            step_start=np.array(self.step_start, dtype=np.int64),
            step_end=np.array(self.step_end, dtype=np.int64),
            layer_end=table(end for end, _, _ in self.layers),
            breakdown_ps=np.array(self.breakdown, dtype=np.int64).reshape(shape[0], len(BREAKDOWN)),
            hits=hits,
            late=late,
            misses=misses,
            layer_stall_ps=table(stall for _, stall, _ in self.layers),
            step_bytes=np.array(self.step_bytes, dtype=np.int64),
            residency=np.array(self.residency, dtype=np.int32).reshape(shape),
            counters={name: int(getattr(self, name)) for name in COUNTERS},
            waits=[*map(Wait._make, self.waits)],
            timeline=self.timeline,
        )
