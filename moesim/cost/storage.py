"""Reading one expert from storage: how it is cut into reads, and how long a read takes beside others.

An expert of B bytes lies in `pieces` runs (its matrices) of near-equal size. Each run is read with `padding` more
bytes (alignment) in reads of at most `read_bytes`, the last of a run shorter. A read of x bytes that starts while
`busy` lanes work, itself included, lasts

    t(x, busy) = busy * x / curve(x, busy)       and at least busy * x / host memory bandwidth

curve: B/s of all lanes together, by read size and busy lanes. It is evaluated at the read's own size, so that a
short last read pays the low rate of short reads. For a given number of lanes, t grows with x (Service).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesim.core.ticks import to_ticks
from moesim.cost.service import Service

__all__ = ["Read", "StorageReads", "make_storage_reads", "split_reads"]


@dataclass(frozen=True, slots=True)
class Read:
    """One read. moved: B on the device's bus, padding included. end: offset in the expert's own bytes that is there
    when it and the reads before it have ended; the last read of an expert has end = the expert's bytes."""

    moved: int
    end: int


@dataclass(frozen=True, eq=False)
class StorageReads:
    """reads of one expert in offset order; sizes: their distinct sizes, ascending, B; table: ticks, int64
    [len(sizes), lanes + 1], by size and busy lanes (column 0 is 0: no read runs on no lane)."""

    reads: tuple[Read, ...]
    sizes: tuple[int, ...]
    table: NDArray[np.int64]

    @property
    def by_size(self) -> dict[int, tuple[int, ...]]:
        """B of a read -> ticks by busy lanes, [lanes + 1]."""
        return {size: tuple(int(t) for t in row) for size, row in zip(self.sizes, self.table, strict=True)}


def split_reads(total: int, *, pieces: int, padding: int, read_bytes: int) -> tuple[Read, ...]:
    """Reads of one expert of `total` B, in offset order; a run's padding is behind its bytes.

    >>> [(r.moved, r.end) for r in split_reads(10, pieces=3, padding=1, read_bytes=4)]
    [(4, 3), (4, 6), (4, 10), (1, 10)]
    """
    if not 1 <= pieces <= total or read_bytes < 1 or padding < 0:
        raise ValueError(f"no cut of {total} B into {pieces} pieces of reads of {read_bytes} B, padded by {padding} B")
    reads: list[Read] = []
    for piece in range(pieces):
        start, end = total * piece // pieces, total * (piece + 1) // pieces
        length = end - start + padding
        for offset in range(0, length, read_bytes):
            moved = min(read_bytes, length - offset)
            reads.append(Read(moved, min(end, start + offset + moved)))
    return tuple(reads)


def make_storage_reads(reads: Sequence[Read], lanes: Sequence[Service], host_memory: Service) -> StorageReads:
    """The table of durations. lanes[b - 1]: seconds for bytes with b busy lanes, at the rate of all lanes
    together."""
    sizes = tuple(sorted({read.moved for read in reads}))
    table = np.zeros((len(sizes), len(lanes) + 1), dtype=np.int64)
    for row, size in enumerate(sizes):
        for busy, service in enumerate(lanes, start=1):
            table[row, busy] = to_ticks(max(busy * service.time(size), host_memory.time(busy * size)))
    return StorageReads(tuple(reads), sizes, table)
