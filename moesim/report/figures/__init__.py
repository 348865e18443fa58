"""The figures of a page, one a file, in the order in which the page of a run shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moesim.report.figures.base import Figure
from moesim.report.figures.breakdown import breakdown
from moesim.report.figures.breakdown_time import breakdown_time
from moesim.report.figures.hit_layers import hit_layers
from moesim.report.figures.hit_time import hit_time
from moesim.report.figures.latency import latency
from moesim.report.figures.memory import memory
from moesim.report.figures.residency import residency
from moesim.report.figures.timeline import timeline
from moesim.report.figures.utilization import utilization
from moesim.results.folder import RunData

__all__ = ["RUN_FIGURES", "Figure"]

RUN_FIGURES: Final[tuple[Callable[[RunData], Figure], ...]] = (
    latency, breakdown, breakdown_time, timeline, hit_layers, hit_time, residency, utilization, memory,
)  # fmt: skip
