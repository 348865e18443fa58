"""Moving one expert from host memory to the accelerator.

    D = bytes * max(t_link(copy) / copy, 1 / host memory bandwidth, 1 / device memory bandwidth)

copy: B of one copy call, the x of the link's curve: the whole expert, or one of its pieces when `method: loop`
issues a copy for each matrix. t_link(x) = x / bandwidth(x), made monotone (Service). D is the time of the bytes
alone: `t0` is paid per copy call (loop) or once per issue (batch, gather) by the engine, and `resume_overhead` when
a preempted transfer goes on (semantics 2.2). A copy is no faster than the memories at its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from moesim.core.ticks import ceil_div, to_ticks
from moesim.cost.service import Service

__all__ = ["Transfer", "copy_bytes", "make_transfer", "transfer_seconds"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One expert's way over the link. duration: D, ticks. t0, resume_overhead: ticks. pieces: copy calls under
    method loop. method: loop | batch | gather, or none when accelerator and host share their memory and nothing has
    to move."""

    duration: int
    t0: int
    resume_overhead: int
    pieces: int
    method: str
    bytes: int

    @property
    def starts(self) -> int:
        """How often t0 is paid by one expert copied alone."""
        return self.pieces if self.method == "loop" else int(self.method != "none")


def copy_bytes(total: int, pieces: int, method: str) -> int:
    """B of one copy call: the largest piece under `loop`, else everything."""
    return ceil_div(total, pieces) if method == "loop" else total


def transfer_seconds(total: int, copy: int, link: Service, ends: Sequence[Service]) -> Fraction:
    """D in seconds for `total` B in copies of `copy` B each; `ends`: the memories read and written."""
    return max(total * link.time(copy) / copy, *(end.time(total) for end in ends))


def make_transfer(
    total: int, *, pieces: int, method: str, link: Service, ends: Sequence[Service], t0: Fraction, resume: Fraction
) -> Transfer:
    """Everything in ticks, rounded up."""
    seconds = transfer_seconds(total, copy_bytes(total, pieces, method), link, ends)
    return Transfer(to_ticks(seconds), to_ticks(t0), to_ticks(resume), pieces, method, total)
