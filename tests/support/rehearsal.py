"""A device that says it is CUDA and does everything on the CPU: the sections' CUDA branches run where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.device import Device
from moesim.calibrate.capture.timing import Clock, ScriptedClock


class RehearsalDevice(Device):
    """Streams are names, graphs are the function, pinned memory is a copy."""

    def __init__(self, free: int = 1 << 30) -> None:
        import torch

        super().__init__(torch, "cpu")
        self.free = free

    @property
    def is_cuda(self) -> bool:
        return True

    def pin(self, tensor: Any) -> Any:
        return tensor.clone()

    def graph(self, fn: Callable[[], object]) -> Callable[[], object]:
        fn()
        return fn

    def free_bytes(self) -> int:
        return self.free


def rehearsal(price: Callable[..., Any] = lambda about: 1e-3, *, quick: bool = True, free: int = 1 << 30) -> Context:
    """A context on it whose every call takes what `price` says."""
    clock = ScriptedClock(price)
    ctx = Context(device=RehearsalDevice(free), clock=clock, host_clock=clock, quick=quick, repeats=3, warmup=1)  # type: ignore[arg-type]
    ctx.budget = 0.0
    return ctx


def context(clock: Clock | None = None, **changes: Any) -> Context:
    """A context on the CPU that spends no time on samples."""
    import torch

    device = Device(torch, "cpu")
    return Context(device=device, clock=clock or device.clock(), quick=True, repeats=3, warmup=1, budget=0.0, **changes)
