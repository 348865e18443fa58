"""An accelerator: its memory, its cache, what it computes, what it costs to start a kernel on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from moesim.hardware.curves import Frozen
from moesim.hardware.sourced import BandwidthNumber, BytesNumber, ComputeNumber, RatioNumber, TimeNumber

__all__ = ["Accelerator", "Cache", "DataType", "Memory"]

DataType = Literal["fp32", "bf16", "fp16", "fp8", "int8"]


class Memory(Frozen):
    """A pool of memory. `bandwidth` is what kernels sustain (the interval's high is the datasheet's peak)."""

    capacity: BytesNumber = Field(description="size of the pool")
    bandwidth: BandwidthNumber = Field(description="sustained reads; curve over the bytes that one operation moves")


class Cache(Frozen):
    """A cache between compute and memory: small experts live there at batch > 1."""

    size: BytesNumber
    bandwidth: BandwidthNumber = Field(description="sustained reads that hit; curve over bytes of one operation")


class Accelerator(Frozen):
    """One GPU (or the compute side of a system on a chip).

    `unified`: its memory is the host's own pool, so nothing is copied between them.
    """

    title: str = Field(min_length=1)
    memory: Memory
    l2: Cache | None = Field(default=None, description="last-level cache of the accelerator; none if left out")
    compute: dict[DataType, ComputeNumber] = Field(description="dense peak rate by data type, as the datasheet counts")
    compute_efficiency: RatioNumber = Field(
        description="sustained part of the peak; a curve is over GEMM rows (tokens per expert in a group)"
    )
    kernel_launch: TimeNumber = Field(description="host time to start one kernel eagerly")
    graph_replay: TimeNumber = Field(description="host time to start one captured graph")
    unified: bool = Field(default=False, description="shares its memory with the host")

    @model_validator(mode="after")
    def _check(self) -> Accelerator:
        if not self.compute:
            raise PydanticCustomError("empty", "got no compute rate, allowed at least one data type")
        ratio = self.compute_efficiency
        if any(ratio.at(x) == 0 or ratio.interval(x)[1] > 1 for x in ratio.knots or (1,)):
            raise PydanticCustomError("efficiency", "got an efficiency of 0 or above 1, allowed above 0, at most 1")
        return self
