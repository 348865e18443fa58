"""Copies between host and device: by size, memory and way of issuing; both directions at once; beside a GEMM.

`h2d` and `d2h` copy one buffer. `pieces` copies many of one size in one call: `loop` one after the other on one or
several streams, `batched` in one call of torch, `gather` through one buffer on the host. `duplex` and `beside` give
the two works alone and together; `timing.overlap` says how much of the shorter was hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.device import host_cache
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.timing import Rotation

__all__ = ["plan", "run"]

_NAME = "copies"
_SIZES = (*(4096 * 4**i for i in range(9)), 512 << 20)
_QUICK = (4096, 65536, 1 << 20, 16 << 20)
_PIECES = (256 << 10, 1 << 20, 4 << 20, 16 << 20)
_STREAMS = (1, 2, 4)
_POOL = 256 << 20  # rotating over more than this costs more than it teaches
_TOTAL = 64 << 20


def plan(ctx: Context) -> list[Cell]:
    """Cells by direction and memory, then pieces, duplex, beside."""
    memories = ("pinned", "pageable") if ctx.is_cuda else ("pageable",)
    largest = (_QUICK if ctx.quick else _SIZES)[-1]
    each = 0.6 if ctx.quick else 4.0
    cells = [
        Cell(section=_NAME, op=op, params={"memory": memory, "largest": largest}, estimate=each)
        for op in ("h2d", "d2h")
        for memory in memories
    ]
    if not ctx.is_cuda:
        cells.append(Cell(section=_NAME, op="h2d", params={"memory": "pinned"}, estimate=0.1))
    cells += [
        Cell(section=_NAME, op="pieces", params={"piece": piece}, estimate=0.8 if ctx.quick else 2.0)
        for piece in (_PIECES[:2] if ctx.quick else _PIECES)
    ]
    for size in (1 << 20,) if ctx.quick else (1 << 20, 16 << 20, 128 << 20):
        cells.append(Cell(section=_NAME, op="duplex", params={"bytes": size}, estimate=0.4 if ctx.quick else 1.5))
        cells.append(Cell(section=_NAME, op="beside", params={"bytes": size}, estimate=1.0 if ctx.quick else 2.0))
    return cells


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell."""
    if cell.op in ("h2d", "d2h"):
        return _single(ctx, cell.op, str(cell.params["memory"]))
    made = {"pieces": _pieces, "duplex": _duplex, "beside": _beside}[cell.op]
    return made(ctx, int(cell.params.get("piece", cell.params.get("bytes", 0))))


def _host(ctx: Context, size: int, memory: str) -> Any:
    ctx.need(2 * size, "host")
    tensor = ctx.random((size,), "uint8", "host")
    return ctx.device.pin(tensor) if memory == "pinned" else tensor


def _memory(ctx: Context) -> str:
    return "pinned" if ctx.is_cuda else "pageable"


def _same(ctx: Context, row: Row, out: Any, right: Any) -> Row:
    """A copy is right when every byte is."""
    if ctx.torch.equal(out.cpu(), right.cpu()):
        return row.but(error_vs_float64=0.0)
    return row.as_failed("wrong output: the copy differs from what was copied")


def _copier(turn: Rotation[tuple[Any, Any]], non_blocking: bool = True) -> Callable[[], object]:
    def copy() -> object:
        target, source = turn.next()
        return target.copy_(source, non_blocking=non_blocking)

    return copy


def _windows(target: Any, source: Any, size: int) -> Rotation[tuple[Any, Any]]:
    """Views of `size` bytes of two pools, in turn."""
    count = max(1, min(len(target) // size, 1 << 16))
    return Rotation([(target[i * size : (i + 1) * size], source[i * size : (i + 1) * size]) for i in range(count)])


def _single(ctx: Context, op: str, memory: str) -> list[Row]:
    rows: list[Row] = []
    sizes = _QUICK if ctx.quick else _SIZES
    room = min(ctx.room("host") // 2, ctx.room())
    fitting = [size for size in sizes if size <= room]
    if not fitting:
        raise Unsupported(f"does not fit: {room:,} B can be had")
    pool = max(fitting[-1], min(_POOL, 2 * max(ctx.device.cache_bytes(), host_cache()), room))
    host = _host(ctx, pool, memory)
    device = ctx.torch.empty(pool, dtype=ctx.torch.uint8, device=ctx.device.name)
    if op == "d2h":
        device.copy_(host)
        host.random_(0, 256)  # what is checked must have come from the device
    for size in sizes:
        row = Row(section=_NAME, op=op, shape={"size": size}, dtype="uint8", bytes=size, method=memory)
        if size not in fitting:
            rows.append(row.as_skipped(f"does not fit: {room:,} B can be had"))
            continue
        turn = _windows(device, host, size) if op == "h2d" else _windows(host, device, size)
        measured = ctx.measure(row, _copier(turn, memory == "pinned"))
        ctx.device.synchronize()
        rows.append(_same(ctx, measured, *turn.items[0]))
    return rows


def _pieces(ctx: Context, piece: int) -> list[Row]:
    torch, device = ctx.torch, ctx.device
    count = max(4, min(64, _TOTAL // piece)) // (4 if ctx.quick else 1)
    total = count * piece
    source = _host(ctx, total, _memory(ctx))
    ctx.need(total)
    target = torch.empty(total, dtype=torch.uint8, device=device.name)
    staging = _host(ctx, total, _memory(ctx))
    froms, tos, stages = (list(t.view(count, piece).unbind()) for t in (source, target, staging))
    order = ctx.rng.permutation(count).tolist()

    def loop(streams: list[Any]) -> Callable[[], object]:
        def copy() -> None:
            main = device.current()
            for stream in streams:
                device.wait(stream, main)
            for i, at in enumerate(order):
                with device.on(streams[i % len(streams)]):
                    tos[at].copy_(froms[at], non_blocking=True)
            for stream in streams:
                device.wait(main, stream)

        return copy

    def single() -> None:
        for at in order:
            tos[at].copy_(froms[at], non_blocking=True)

    def gather() -> None:
        for at in order:
            stages[at].copy_(froms[at])
        target.copy_(staging, non_blocking=True)

    ways: list[tuple[str, int, Callable[[], object]]] = [("loop", 1, single)]
    ways += [("loop", n, loop([device.stream() for _ in range(n)])) for n in _STREAMS if n > 1 and ctx.is_cuda]
    if hasattr(torch, "_foreach_copy_"):
        ways.append(("batched", 1, lambda: torch._foreach_copy_(tos, froms, non_blocking=True)))

    def safe_gather() -> None:
        device.synchronize()  # the buffer may not be refilled while it is being copied
        gather()

    ways.append(("gather", 1, safe_gather))
    rows = []
    for method, streams, copy in ways:
        shape = {"piece": piece, "pieces": count, "streams": streams}
        row = Row(section=_NAME, op="pieces", shape=shape, dtype="uint8", bytes=total, method=method)
        target.fill_(1)
        measured = ctx.measure(row, copy)
        device.synchronize()
        rows.append(_same(ctx, measured, target, source))
    return rows


def _together(ctx: Context, streams: list[Any], works: list[Callable[[], object]]) -> Callable[[], object]:
    """Each work on its own stream, joined before and after by the stream in use."""
    device = ctx.device

    def both() -> None:
        main = device.current()
        for stream, work in zip(streams, works, strict=True):
            device.wait(stream, main)
            with device.on(stream):
                work()
        for stream in streams:
            device.wait(main, stream)

    return both


def _duplex(ctx: Context, size: int) -> list[Row]:
    torch, device = ctx.torch, ctx.device
    memory = _memory(ctx)
    ctx.need(2 * size)
    up, down = _host(ctx, size, memory), _host(ctx, size, memory)
    to = torch.empty(size, dtype=torch.uint8, device=device.name)
    source = ctx.random((size,), "uint8")
    works: list[Callable[[], object]] = [
        lambda: to.copy_(up, non_blocking=True),
        lambda: down.copy_(source, non_blocking=True),
    ]
    ways = {"h2d": works[:1], "d2h": works[1:], "both": works}
    rows = []
    for method, chosen in ways.items():
        row = Row(section=_NAME, op="duplex", shape={"size": size}, dtype="uint8", method=method)
        row = row.but(bytes=size * len(chosen))
        measured = ctx.measure(row, _together(ctx, [device.stream() for _ in chosen], chosen))
        device.synchronize()
        if method != "d2h":
            measured = _same(ctx, measured, to, up)
        rows.append(measured if method == "h2d" or measured.error else _same(ctx, measured, down, source))
    return rows


def _beside(ctx: Context, size: int) -> list[Row]:
    """Copy alone, GEMMs alone, both joined; on CUDA also each while the other keeps its stream busy."""
    torch, device = ctx.torch, ctx.device
    edge, dtype = (256, "float32") if ctx.quick else (4096, "bfloat16") if ctx.is_cuda else (1024, "float32")
    host = _host(ctx, size, _memory(ctx))
    ctx.need(size + 3 * edge * edge * 4)
    to = torch.empty(size, dtype=torch.uint8, device=device.name)
    a, b = (ctx.random((edge, edge), dtype, scale=edge**-0.5) for _ in range(2))
    out = torch.empty_like(a)
    gemms = 1

    def gemm() -> None:
        for _ in range(gemms):
            torch.mm(a, b, out=out)

    def copy() -> None:
        to.copy_(host, non_blocking=True)

    shape: dict[str, int | str] = {"size": size, "gemm": edge, "gemms": gemms}
    base = Row(section=_NAME, op="beside", shape=shape, dtype=dtype)
    copied = base.but(method="copy", bytes=size)
    rows = [ctx.measure(copied, _together(ctx, [device.stream()], [copy]))]
    once = ctx.measure(base.but(method="gemm", flops=2 * edge**3), gemm)
    gemms = max(1, min(64, round(rows[0].median / once.median)))  # two works of about equal length hide best
    base = base.but(shape={**shape, "gemms": gemms})
    rows[0] = rows[0].but(shape=base.shape)
    computed = base.but(method="gemm", flops=gemms * 2 * edge**3)
    rows.append(ctx.measure(computed, _together(ctx, [device.stream()], [gemm])))
    joined = base.but(method="both", bytes=size, flops=computed.flops)
    rows.append(ctx.measure(joined, _together(ctx, [device.stream(), device.stream()], [copy, gemm])))
    device.synchronize()
    rows[0] = _same(ctx, rows[0], to, host)
    rows[1] = ctx.checked(rows[1], out[:8], a[:8].to(torch.float64) @ b.to(torch.float64))
    if ctx.is_cuda:
        side = device.stream()

        def keep(work: Callable[[], object]) -> Callable[[], object]:
            def busy() -> None:
                with device.on(side):
                    for _ in range(4):
                        work()

            return busy

        rows.append(ctx.measure(copied.but(method="copy beside gemm", shape=base.shape), copy, prepare=keep(gemm)))
        rows.append(ctx.measure(computed.but(method="gemm beside copy"), gemm, prepare=keep(copy)))
    return rows
