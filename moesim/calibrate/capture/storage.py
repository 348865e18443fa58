"""Reads from storage by size and lanes, past the page cache where the system allows it (O_DIRECT on Linux).

`--path` is a file that is read, or a folder in which a scratch file of random bytes is written, read and deleted. The
path itself is not recorded. Seconds are those of one round: every lane (a thread) reads `reads` times `size` bytes at
random places.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.rows import Cell, Row, Unsupported

__all__ = ["plan", "run"]

_NAME = "storage"
_SIZES = (4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)
_LANES = (1, 2, 4, 8, 16)
_SCRATCH = 2 << 30
_BYTES = 256 << 20  # of one round at most


def plan(ctx: Context) -> list[Cell]:
    """Cells by size; without a path one that says so."""
    if ctx.path is None:
        return [Cell(section=_NAME, op="read", estimate=0.1)]
    sizes = _SIZES[::2] if ctx.quick else _SIZES
    return [Cell(section=_NAME, op="read", params={"size": size}, estimate=1.0 if ctx.quick else 8.0) for size in sizes]


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell, by lanes."""
    if ctx.path is None:
        raise Unsupported("no --path was given")
    size = int(cell.params["size"])
    with _file(ctx, ctx.path) as path:
        length = path.stat().st_size
        if length < size:
            raise Unsupported(f"the file has {length:,} B, fewer than one read of {size:,} B")
        return [_lanes(ctx, path, length, size, lanes) for lanes in (_LANES[:2] if ctx.quick else _LANES)]


@contextmanager
def _file(ctx: Context, path: Path) -> Iterator[Path]:
    """The file to read; a scratch file in a folder goes when the block ends."""
    if not path.is_dir():
        yield path
        return
    # written once a cell: a capture may be killed, and nothing may stay behind but by a kill
    length, block = (32 << 20) if ctx.quick else _SCRATCH, 16 << 20
    handle, name = tempfile.mkstemp(dir=path, prefix=".moesim-storage-")
    try:
        with os.fdopen(handle, "wb") as file:
            for _ in range(length // block):
                file.write(ctx.rng.bytes(block))
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _open(path: Path) -> tuple[int, str]:
    direct = getattr(os, "O_DIRECT", 0)
    if direct:
        try:
            return os.open(path, os.O_RDONLY | direct), "direct"
        except OSError:
            pass  # a file system without it
    return os.open(path, os.O_RDONLY), "buffered"


def _lanes(ctx: Context, path: Path, length: int, size: int, lanes: int) -> Row:
    reads = max(1, min(64, (_BYTES // (8 if ctx.quick else 1)) // (size * lanes)))
    handle, method = _open(path)
    buffers = [mmap.mmap(-1, size) for _ in range(lanes)]  # aligned to pages, as O_DIRECT wants
    slots = max(1, length // size)

    def lane(buffer: mmap.mmap, places: NDArray[np.int64]) -> None:
        view = memoryview(buffer)
        for place in places.tolist():
            if os.preadv(handle, [view], place * size) != size:
                raise OSError("a read came back short")

    shape = {"size": size, "lanes": lanes, "reads": reads}
    row = Row(section=_NAME, op="read", shape=shape, method=method, device="host", bytes=size * lanes * reads)
    samples: list[float] = []
    try:
        with ThreadPoolExecutor(lanes) as pool:
            end = time.perf_counter() + 3 * ctx.budget
            while len(samples) < 3 or (len(samples) < ctx.repeats and time.perf_counter() < end):
                places = ctx.rng.integers(0, slots, (lanes, reads))
                if method == "buffered" and hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                begun = time.perf_counter()
                list(pool.map(lane, buffers, places))
                samples.append(time.perf_counter() - begun)
        with path.open("rb") as file:
            file.seek(int(places[0][-1]) * size)
            right = file.read(size) == buffers[0][:]
    finally:
        os.close(handle)
    row = row.but(seconds=tuple(samples))
    return row if right else row.as_failed("wrong output: what was read is not what the file holds")
