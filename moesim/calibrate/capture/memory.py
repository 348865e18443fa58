"""Memory that is not copied over the link: the device's own by size (caches visible), host DRAM by threads.

Bytes count what is read plus what is written. `warm` goes over one buffer again and again, so that small sizes show
the cache; `rotated` goes round buffers that exceed it twice.
"""

from __future__ import annotations

from functools import partial

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.rows import Cell, Row
from moesim.calibrate.capture.timing import HostClock, Rotation

__all__ = ["plan", "run"]

_NAME = "memory"
_SIZES = tuple(1 << s for s in range(16, 31))
_QUICK = (1 << 16, 1 << 20, 1 << 24)


def _threads(ctx: Context) -> list[int]:
    most = max(1, int(ctx.torch.get_num_threads()))
    return sorted({min(most, 1 << i) for i in range(10)})


def plan(ctx: Context) -> list[Cell]:
    """Device copy and read; host copy and read by threads."""
    each = 0.6 if ctx.quick else 3.0
    cells = [
        Cell(section=_NAME, op=op, params={"way": way}, estimate=each)
        for op in ("device_copy", "device_read")
        for way in ("warm", "rotated")
    ]
    cells += [
        Cell(section=_NAME, op=op, params={"threads": n}, estimate=0.5 if ctx.quick else 1.5)
        for op in ("host_copy", "host_read")
        for n in _threads(ctx)
    ]
    return cells


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell."""
    if cell.op.startswith("device"):
        return _sizes(ctx, cell.op, str(cell.params["way"]))
    before, threads = ctx.torch.get_num_threads(), int(cell.params["threads"])
    ctx.torch.set_num_threads(threads)
    try:
        size = (64 if ctx.quick else 512) << 20
        ctx.need(3 * size, "host")
        row = Row(section=_NAME, op=cell.op, shape={"size": size, "threads": threads}, dtype="float32", device="host")
        return [_one(ctx, row, size, "host", "warm", HostClock())]
    finally:
        ctx.torch.set_num_threads(before)


def _sizes(ctx: Context, op: str, way: str) -> list[Row]:
    rows = []
    for size in _QUICK if ctx.quick else _SIZES:
        row = Row(section=_NAME, op=op, shape={"size": size}, dtype="float32", method=way)
        room = ctx.room()
        if 3 * size > room:
            rows.append(row.as_skipped(f"does not fit: needs {3 * size:,} B, {room:,} B can be had"))
            continue
        rows.append(ctx.attempt(row, partial(_one, ctx, row, size, "device", way, None)))
    return rows


def _one(ctx: Context, row: Row, size: int, where: str, way: str, clock: HostClock | None) -> Row:
    torch = ctx.torch
    count = size // 4
    sets = 1 if way == "warm" else ctx.turns(2 * size, most=1024)
    first = ctx.random((count,), "float32", where)
    sources = [first, *(first.clone() for _ in range(sets - 1))]
    if row.op.endswith("copy"):
        turn = Rotation([(torch.empty_like(source), source) for source in sources])

        def copy() -> None:
            target, source = turn.next()
            target.copy_(source)

        made = ctx.measure(row.but(bytes=2 * size), copy, clock=clock)
        right = torch.equal(*turn.items[0])
        return made.but(error_vs_float64=0.0) if right else made.as_failed("wrong output: the copy differs")
    reads = Rotation(sources)
    out = torch.empty((), dtype=torch.float32, device=first.device)

    def read() -> None:
        torch.amax(reads.next(), dim=0, out=out)

    made = ctx.measure(row.but(bytes=size, flops=count), read, clock=clock)
    return ctx.checked(made, out, first.to(torch.float64).amax())
