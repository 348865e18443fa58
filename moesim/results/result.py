"""What a run leaves behind, before any figure is made of it: arrays, counters, the timeline window.

S = steps, L = layers; times in ticks of 1 ps. Every figure reported to users is defined in `moesim.results.metrics`
from these; what each counter counts is rule 12 of `moesim.engine.spec`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BREAKDOWN", "COUNTERS", "Result", "Slice", "Wait"]

Ints = NDArray[np.int64]

BREAKDOWN = (
    "attention", "router", "control", "management", "experts", "shared", "dense", "head", "host_gap", "collective",
    "stall_link", "stall_storage", "stall_cache", "stall_cpu",
)  # fmt: skip
"""Columns of `Result.breakdown_ps`: exclusive, they sum to the step."""

COUNTERS = (
    "lookups", "hits", "late", "misses", "evictions", "loads", "bytes_loaded", "bytes_read", "bytes_wasted",
    "prefetches", "prefetch_used", "prefetch_dropped", "prefetch_stale", "prefetch_cancelled", "waits_for_bytes",
    "overshoot_peak", "stream_busy", "link_busy", "storage_busy",
)  # fmt: skip
"""Keys of `Result.counters`."""


class Wait(NamedTuple):
    """The stream waited in [start, end) of a layer, until the arrival of `expert`, transfer number `transfer`."""

    step: int
    layer: int
    start: int
    end: int
    expert: int
    transfer: int


@dataclass(frozen=True)
class Slice:
    """One bar of the timeline: a server's lane was taken from `start` to `end`.

    The link has one bar per service, from the pick to the tick at which it is let go (wakeup and link overhead
    included); a group's compute is one bar `experts`, its shared part and its management are bars of their own. `layer`
    is the layer of `experts`, which are numbered within it. No bar reaches beyond the end of the run.
    """

    lane: str
    """stream, link, storage 0, storage 1, ..."""
    name: str
    """attention, router, control, experts, copy, prefetch, read, wait, ..."""
    start: int
    end: int
    step: int
    layer: int
    experts: tuple[int, ...] = ()
    transfer: int = -1
    """Number of the transfer served, or the one whose arrival ended a wait; -1 if none."""
    bytes: int = 0
    """Moved in this bar: chunks that ended in it, or the read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One run."""

    engine: str
    step_start: Ints
    """[S]"""
    step_end: Ints
    """[S]"""
    layer_end: Ints
    """[S, L]"""
    breakdown_ps: Ints
    """[S, 14] columns as `BREAKDOWN`."""
    hits: Ints
    """[S, L]"""
    late: Ints
    """[S, L]"""
    misses: Ints
    """[S, L]"""
    layer_stall_ps: Ints
    """[S, L] waits of each layer."""
    step_bytes: Ints
    """[S] bytes of the experts whose transfer ended in (start, end] of the step."""
    residency: NDArray[np.int32]
    """[S, L] experts resident at the end of each step, pinned ones included."""
    counters: dict[str, int]
    waits: list[Wait] = field(default_factory=list)
    timeline: list[Slice] = field(default_factory=list)

    @property
    def elapsed_ps(self) -> int:
        """Ticks from the start of the first step to the end of the last."""
        return int(self.step_end[-1] - self.step_start[0]) if len(self.step_end) else 0
