"""The device that is timed: streams, pinned memory, graphs, sizes. All that differs between CUDA and the rest is here.

Without CUDA every stream is the one order of the program, so that the same sections run (and are tested) anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from moesim.calibrate.capture.rows import Unsupported
from moesim.calibrate.capture.timing import Clock, CudaClock, HostClock
from moesim.errors import Fault, InputError

__all__ = ["CudaDevice", "Device", "host_cache", "host_free", "open_device"]

_UNKNOWN_CACHE = 64 << 20


class Device:
    """A device of torch without streams of its own (cpu, and whatever else torch names)."""

    def __init__(self, torch: Any, name: str) -> None:
        self.torch = torch
        self.name = name
        self.kind = name.partition(":")[0]

    @property
    def is_cuda(self) -> bool:
        """Whether streams, events, graphs and pinned memory are real."""
        return False

    def synchronize(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.kind != "cpu":
            self.torch.accelerator.synchronize()

    def clock(self) -> Clock:
        """The device's own clock, or the host's."""
        return HostClock(self.kind, None if self.kind == "cpu" else self.synchronize)

    def stream(self) -> Any:
        """A new stream (None where there are none)."""
        return None

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        """Issue what follows on a stream."""
        return nullcontext()

    def current(self) -> Any:
        """The stream in use."""
        return None

    def wait(self, waiter: Any, waited: Any) -> None:
        """Work issued to `waiter` from now on begins after all that `waited` has been given."""

    def event(self, timing: bool = True) -> Any:
        """An event with record(stream), synchronize() and elapsed_time(other) in ms."""
        raise Unsupported(f"{self.kind} has no device events here")

    def pin(self, tensor: Any) -> Any:
        """A page-locked copy of a host tensor."""
        raise Unsupported(f"no page-locked memory with device {self.kind}")

    def graph(self, fn: Callable[[], object]) -> Callable[[], object]:
        """A call that replays what `fn` launches. `fn` must allocate nothing that outlives it."""
        raise Unsupported(f"no graphs with device {self.kind}")

    def free_bytes(self) -> int:
        """Memory that can be had now."""
        return host_free()

    def cache_bytes(self) -> int:
        """The last cache before memory: L2, or the host's last level."""
        return host_cache()

    def release(self) -> None:
        """Give memory that torch keeps for later back to the device."""


class CudaDevice(Device):
    """One CUDA device; it is made the current one."""

    def __init__(self, torch: Any, name: str) -> None:
        super().__init__(torch, name)
        device = torch.device(name)
        self.index = device.index if device.index is not None else torch.cuda.current_device()
        torch.cuda.set_device(self.index)

    @property
    def is_cuda(self) -> bool:
        return True

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def clock(self) -> Clock:
        return CudaClock(self.torch)

    def stream(self) -> Any:
        return self.torch.cuda.Stream()

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        made: AbstractContextManager[Any] = self.torch.cuda.stream(stream)
        return made

    def current(self) -> Any:
        return self.torch.cuda.current_stream()

    def wait(self, waiter: Any, waited: Any) -> None:
        waiter.wait_stream(waited)

    def event(self, timing: bool = True) -> Any:
        return self.torch.cuda.Event(enable_timing=timing)

    def pin(self, tensor: Any) -> Any:
        return tensor.pin_memory()

    def graph(self, fn: Callable[[], object]) -> Callable[[], object]:
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):  # libraries make their handles and workspaces outside the capture
            for _ in range(3):
                fn()
        cuda.current_stream().wait_stream(side)
        cuda.synchronize()
        made = cuda.CUDAGraph()
        with cuda.graph(made):
            fn()
        replay: Callable[[], object] = made.replay
        return replay

    def free_bytes(self) -> int:
        free, _ = self.torch.cuda.mem_get_info()
        kept = self.torch.cuda.memory_reserved() - self.torch.cuda.memory_allocated()
        return int(free) + max(0, int(kept))

    def cache_bytes(self) -> int:
        properties = self.torch.cuda.get_device_properties(self.index)
        return int(getattr(properties, "L2_cache_size", 0) or _UNKNOWN_CACHE)

    def release(self) -> None:
        self.torch.cuda.synchronize()
        self.torch.cuda.empty_cache()


def open_device(name: str) -> Device:
    """The device of that name ("" takes cuda if there is one, else cpu); InputError if there is no such device."""
    try:
        import torch
    except ImportError:
        fault = Fault(message="torch is not installed: a capture times the device through it (pip install torch)")
        raise InputError(fault) from None
    cuda = torch.cuda.is_available()
    name = name or ("cuda" if cuda else "cpu")
    present = ["cpu"] + ([f"cuda:{i}" for i in range(torch.cuda.device_count())] if cuda else [])
    wrong = Fault(field="--device", message="no such device", got=name, allowed=" | ".join(present))
    try:
        device = torch.device(name)
        if device.type == "cuda":
            if not cuda or (device.index or 0) >= torch.cuda.device_count():
                raise InputError(wrong)
            return CudaDevice(torch, name)
        torch.empty(16, device=device).uniform_().sum().item()
    except (RuntimeError, AssertionError, ImportError, NotImplementedError):
        raise InputError(wrong) from None
    return Device(torch, name)


def host_free(root: Path = Path("/")) -> int:
    """Host memory that can be had without swapping (B): what the system has, and what the container's limit leaves."""
    free = 4 << 30 if not hasattr(os, "sysconf") else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) << 10
    except OSError:
        pass
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
        used = (root / "sys/fs/cgroup/memory.current").read_text().strip()
        free = min(free, max(0, int(limit) - int(used)))
    except (OSError, ValueError):  # no such limit, or "max"
        pass
    return free


def host_cache() -> int:
    """The host's last level cache (B)."""
    found = 0
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = entry.read_text().strip()
        if text[:-1].isdigit():
            found = max(found, int(text[:-1]) << {"K": 10, "M": 20, "G": 30}.get(text[-1], 0))
    return found or _UNKNOWN_CACHE
