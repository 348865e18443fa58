"""The host: the DRAM where experts wait."""

from __future__ import annotations

from pydantic import Field

from moesim.hardware.accelerator import Memory
from moesim.hardware.curves import Frozen

__all__ = ["Host"]


class Host(Frozen):
    """Processor side of a machine. Left out so far: computing experts on the CPU."""

    title: str = Field(min_length=1)
    memory: Memory = Field(description="DRAM; on a unified machine the pool that the accelerator shares")
