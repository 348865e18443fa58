"""The software that drives a machine: what its control path costs and how it moves experts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from moesim.hardware.curves import Frozen
from moesim.hardware.sourced import BytesNumber, Count, PerByteNumber, TimeNumber

__all__ = ["EvictOverhead", "Kernels", "LoadOverhead", "Runtime"]


class Kernels(Frozen):
    """Kernels that one operation of a layer starts (of a step, for `head`)."""

    attention: Count
    router: Count
    experts: Count
    shared: Count
    dense: Count
    head: Count


class EvictOverhead(Frozen):
    """Time for each expert evicted: fixed + per_byte * bytes."""

    fixed: TimeNumber
    per_byte: PerByteNumber


class LoadOverhead(EvictOverhead):
    """Time for each expert loaded, beside moving its bytes; `on` says who spends it."""

    on: Literal["host", "link", "stream"] = Field(
        description="host: delays this and later copies; link: adds to service; stream: runs before the first use"
    )


class Runtime(Frozen):
    """An inference engine as the simulator sees it."""

    title: str = Field(min_length=1)
    d2h_sync: TimeNumber = Field(description="from the router's end until the host has the chosen ids")
    lookup: TimeNumber = Field(description="deciding the set of one layer")
    issue: TimeNumber = Field(description="issuing one demand copy")
    host_gap: TimeNumber = Field(description="from the end of one step to the next: sampling, scheduling")
    launch: Literal["graph", "piecewise", "eager"] = Field(description="how kernels are started")
    kernels: Kernels
    load_overhead: LoadOverhead | None = None
    evict_overhead: EvictOverhead | None = None
    pieces_per_expert: Count = Field(description="separate pieces of memory that hold one expert: 3 matrices, or 1")
    read_padding: BytesNumber = Field(description="bytes that alignment adds to each piece read from storage")

    @model_validator(mode="after")
    def _check(self) -> Runtime:
        if not int(self.pieces_per_expert):
            raise PydanticCustomError("pieces", "got 0 pieces per expert, allowed at least 1")
        return self
