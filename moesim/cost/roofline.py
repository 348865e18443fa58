"""The roofline: an operation takes its launch, then for each of its parts the longer of its arithmetic and its bytes.

    duration = launch + sum over parts of max(flops / (peak * efficiency), bytes / bandwidth)

flops in FLOP (one multiply or one add), peak in FLOP/s, efficiency a ratio, bytes in B, bandwidth in B/s, launch in
s. Parts are kernels that run one after another (projections, then attention proper), so their times add. Exact
rationals; rounded up once, at the end. Source of the form: Williams, Waterman, Patterson, "Roofline", CACM 52(4),
2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from moesim.core.ticks import to_ticks

__all__ = ["NOTHING", "Duration", "Part", "combine", "roofline"]


@dataclass(frozen=True, slots=True)
class Duration:
    """How long an operation takes and why.

    ticks: picoseconds, rounded up. why: the largest term, compute | memory | launch (none when there is nothing to
    do). flops: FLOP done. bytes: B moved to and from the accelerator's memory.
    """

    ticks: int
    why: str
    flops: int
    bytes: int


NOTHING = Duration(0, "none", 0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """One kernel's work, and the seconds that its arithmetic (in `dtype`) and its memory traffic would take alone."""

    name: str
    dtype: str
    flops: int
    bytes: int
    compute: Fraction
    memory: Fraction

    @property
    def seconds(self) -> Fraction:
        """max(compute, memory)."""
        return max(self.compute, self.memory)


def combine(parts: Sequence[Part], launch: Fraction) -> Duration:
    """Launch plus parts in sequence. Without work there is no launch either: the engine would not issue the
    operation."""
    flops, moved = sum(p.flops for p in parts), sum(p.bytes for p in parts)
    if flops == 0 and moved == 0:
        return NOTHING
    compute = sum((p.compute for p in parts if p.compute > p.memory), Fraction(0))
    memory = sum((p.memory for p in parts if p.compute <= p.memory), Fraction(0))
    terms = {"memory": memory, "compute": compute, "launch": launch}
    return Duration(to_ticks(launch + compute + memory), max(terms, key=terms.__getitem__), flops, moved)


def roofline(
    *, flops: int, moved: int, peak: Fraction, efficiency: Fraction, bandwidth: Fraction, launch: Fraction
) -> Duration:
    """The closed form with scalar rates, for one part.

    >>> r = roofline(flops=10, moved=30, peak=Fraction(10**12), efficiency=Fraction(1), bandwidth=Fraction(10**12),
    ...              launch=Fraction(5, 10**12))
    >>> r.ticks, r.why
    (35, 'memory')
    """
    return combine([Part("all", "", flops, moved, flops / (peak * efficiency), moved / bandwidth)], launch)
