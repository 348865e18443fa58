"""A link that copies from host memory to an accelerator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moesim.hardware.curves import Frozen
from moesim.hardware.sourced import BandwidthNumber, TimeNumber

__all__ = ["Link"]


class Link(Frozen):
    """One direction of a link. A copy of b bytes is served in copy_overhead + b / bandwidth(b).

    Left out: the other direction (both at once share a link's buffers).
    """

    title: str = Field(min_length=1)
    bandwidth: BandwidthNumber = Field(description="sustained rate of a copy; a curve is over the bytes of one copy")
    copy_overhead: TimeNumber = Field(description="fixed time t0 of a copy on the link, beside its bytes")
    resume_overhead: TimeNumber = Field(description="time to go on with a copy that was interrupted between chunks")
    method: Literal["loop", "batch", "gather"] = Field(
        description="one call for each piece (t0 each), one for a batch, or one gathering kernel"
    )
