"""What a section gets: the device, clocks, random data, the check against float64, and the one way to make a row.

A section is a module (or package) with ``plan(ctx) -> list[Cell]`` and ``run(ctx, cell) -> list[Row]``. `plan` times
nothing. `run` may raise `Unsupported` (recorded as skipped) or anything else (recorded as failed): the rest goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from moesim.calibrate.capture.device import Device, host_free
from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.timing import Clock, HostClock, Rotation

__all__ = ["TOLERANCE", "Context", "Section", "is_memory"]

TOLERANCE = {"float64": 1e-12, "float32": 1e-3, "float16": 5e-3, "bfloat16": 2e-2, "float8_e4m3fn": 8e-2}
"""Largest ||out - ref|| / ||ref|| of a right kernel, by the type of its operands."""

_BLOCK = 4_194_301  # random numbers drawn at once; a prime, so that equal tensors of a stack get different numbers
_ROOM = 0.8  # share of what is free that a cell may take


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


class Section(Protocol):
    """What a section's module offers."""

    def plan(self, ctx: Context) -> list[Cell]:
        """The cells to run, in order."""

    def run(self, ctx: Context, cell: Cell) -> list[Row]:
        """The rows of one cell."""


@dataclass(kw_only=True)
class Context:
    """Handed to every section.

    device      what is timed
    clock       its clock; `host_clock` is the host's, for what the host spends
    budget      wall seconds for the samples of one row
    seed        of all random data
    quick       the small plan
    rng         numpy generator; sections that need reproducible data take `fresh(name)`
    file        where the rows go; None in a plan or a test
    progress    told what is being run
    path        a file or folder on the storage to be read, None without
    """

    device: Device
    clock: Clock
    host_clock: Clock = field(default_factory=HostClock)
    budget: float = 0.3
    seed: int = 0
    quick: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    file: CaptureFile | None = None
    progress: Callable[[str], None] = lambda text: None
    path: Path | None = None
    warmup: int = 3
    repeats: int = 20

    @property
    def torch(self) -> Any:
        """The torch module."""
        return self.device.torch

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.is_cuda

    def dtype(self, name: str) -> Any:
        """torch's dtype of a name; Unsupported if this torch has none."""
        found = getattr(self.torch, name, None)
        if found is None:
            raise Unsupported(f"this torch has no {name}")
        return found

    def fresh(self, name: str) -> np.random.Generator:
        """A generator that depends on the seed and a name alone, so that a resumed capture draws the same."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def room(self, where: str = "device") -> int:
        """Bytes that a cell may take on the `device` or the `host`; in quick mode at most 1 GiB."""
        free = self.device.free_bytes() if where == "device" else host_free()
        return min(int(free * _ROOM), 1 << 30) if self.quick else int(free * _ROOM)

    def need(self, size: int, where: str = "device") -> None:
        """Unsupported if `size` bytes do not fit."""
        if size > (room := self.room(where)):
            raise Unsupported(f"does not fit: needs {size:,} B of {where} memory, {room:,} B can be had")

    def turns(self, footprint: int, where: str = "device", most: int = 16) -> int:
        """How many sets of `footprint` bytes to rotate past the caches (`Rotation.copies`)."""
        room = self.room(where) // 2
        return Rotation.copies(footprint, self.device.cache_bytes(), room, most)

    def random(self, shape: Sequence[int], dtype: str = "float32", where: str = "device", scale: float = 1.0) -> Any:
        """A tensor of normal numbers times `scale` (random bytes for uint8), never zeros.

        Long tensors repeat a block of a prime number of draws: drawing must not take longer than measuring.
        """
        torch, made = self.torch, self.dtype(dtype)
        place = self.device.name if where == "device" else "cpu"
        count = math.prod(shape)
        drawn = min(count, _BLOCK)
        generator = torch.Generator().manual_seed(int(self.rng.integers(1 << 62)))
        if dtype == "uint8":
            block = torch.randint(1, 256, (drawn,), dtype=torch.uint8, generator=generator)
        else:
            block = (torch.randn(drawn, generator=generator) * scale).to(made)
        block = block.to(place)
        if drawn == count:
            return block.reshape(tuple(shape))
        flat = torch.empty(count, dtype=made, device=place)
        whole = count // drawn * drawn
        flat[:whole].view(-1, drawn)[:] = block
        flat[whole:] = block[: count - whole]
        return flat.reshape(tuple(shape))

    def measure(
        self,
        about: Row,
        fn: Callable[[], object],
        *,
        clock: Clock | None = None,
        repeats: int | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Row:
        """Time `fn` and return `about` with its samples. `prepare` as in `Clock.time`."""
        clock = clock or self.clock
        grad = getattr(self.torch, "inference_mode", nullcontext)
        with grad():
            samples = clock.time(
                fn,
                warmup=self.warmup,
                repeats=repeats or self.repeats,
                budget=self.budget,
                about=about,
                prepare=prepare,
            )
        return about.but(seconds=tuple(samples), device=about.device or clock.name)

    def attempt(self, row: Row, work: Callable[[], Row]) -> Row:
        """`work()`, or `row` as skipped if memory runs out in it: one size too large must not cost the others."""
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
        self.device.release()  # outside the handler, which holds on to the tensors of what failed
        return row.as_skipped("does not fit: memory ran out")

    def checked(self, row: Row, out: Any, reference: Any, tolerance: float | None = None) -> Row:
        """The row with ||out - reference|| / ||reference|| in it; failed if that is above the tolerance of its dtype.

        `reference` is in float64. NaN never passes.
        """
        if not out.numel() or out.shape != reference.shape:
            return row.as_failed(f"wrong output shape {tuple(out.shape)}, right is {tuple(reference.shape)}")
        difference = (out.to(self.torch.float64) - reference).norm()
        error = float(difference / reference.norm())
        allowed = tolerance if tolerance is not None else TOLERANCE[row.dtype]
        kept = error if math.isfinite(error) else None
        row = row.but(error_vs_float64=None if kept is None else float(f"{kept:.4g}"))
        if error <= allowed:
            return row
        return row.as_failed(f"wrong output: differs from float64 by {error:.3g}, at most {allowed:.3g} is right")
