"""The control path of a layer, and what loading or evicting an expert costs beside its bytes.

control   d2h_sync (router ids reach the host), lookup (the cache's decision for the set), issue (one demand copy
          call), host_gap (between steps: sampling, scheduling): seconds each, from the machine's runtime.
overhead  fixed + per_byte * bytes for each expert loaded, and likewise for each evicted; `on` says who pays: host
          (delays the issue of that and later copies), link (added to the service), stream (one operation before the
          expert's first use).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from moesim.core.ticks import to_ticks

__all__ = ["Control", "Overhead", "make_overhead"]


@dataclass(frozen=True, slots=True)
class Control:
    """Ticks."""

    d2h_sync: int
    lookup: int
    issue: int
    host_gap: int


@dataclass(frozen=True, slots=True)
class Overhead:
    """Ticks for one expert, and who pays: host | link | stream."""

    ticks: int
    on: str


def make_overhead(fixed: Fraction, per_byte: Fraction, total: int, on: str) -> Overhead:
    """fixed (s) + per_byte (s/B) * total (B), rounded up."""
    return Overhead(to_ticks(fixed + per_byte * total), on)
