"""Expert math on the CPU, for misses that are computed where the weights are: by tokens, type and threads."""

from __future__ import annotations

from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.device import host_cache
from moesim.calibrate.capture.ffn import draw, looped, reference
from moesim.calibrate.capture.rows import Cell, Row
from moesim.calibrate.capture.timing import HostClock, Rotation

__all__ = ["plan", "run"]

_NAME = "host"
_SHAPES = ((2048, 768), (4096, 14336))


def plan(ctx: Context) -> list[Cell]:
    """Cells by shape, type and threads."""
    most = max(1, int(ctx.torch.get_num_threads()))
    threads = sorted({1, most}) if ctx.quick else sorted({min(most, 1 << i) for i in range(10)})
    return [
        Cell(
            section=_NAME,
            op="ffn",
            params={"d_model": d, "d_expert": f, "dtype": dtype, "threads": n},
            estimate=0.8 if ctx.quick else 1.5,
        )
        for d, f in (((512, 192),) if ctx.quick else _SHAPES)
        for dtype in ("bfloat16", "float32")
        for n in threads
    ]


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell, by tokens."""
    torch, p = ctx.torch, cell.params
    before = torch.get_num_threads()
    torch.set_num_threads(int(p["threads"]))
    try:
        return _rows(ctx, int(p["d_model"]), int(p["d_expert"]), str(p["dtype"]), int(p["threads"]))
    finally:
        torch.set_num_threads(before)


def _rows(ctx: Context, d: int, f: int, dtype: str, threads: int) -> list[Row]:
    torch, rows = ctx.torch, []
    size = 4 if dtype == "float32" else 2
    expert = 3 * d * f * size
    ctx.need(2 * expert, "host")
    sets = Rotation.copies(expert, host_cache(), ctx.room("host") // 2)
    pool = draw(ctx, sets, d, f, dtype, "host")
    turn = Rotation([pool.part(i, i + 1) for i in range(sets)])
    for tokens in (1, 16) if ctx.quick else (1, 4, 16, 64, 256):
        x = ctx.random((tokens, d), dtype, "host")
        shape = {"d_model": d, "d_expert": f, "threads": threads}
        row = Row(section=_NAME, op="ffn", shape=shape, dtype=dtype, tokens=tokens, distinct=1, device="host")
        row = row.but(bytes=expert + 2 * tokens * d * size, flops=6 * tokens * d * f, method="looped eager")

        def call(x: Any = x) -> Any:
            return looped(torch, x, turn.next())

        with torch.inference_mode():
            out = looped(torch, x, turn.items[0])
        right = reference(torch, x, turn.items[0], [0, tokens - 1])
        rows.append(ctx.checked(ctx.measure(row, call, clock=HostClock()), out[[0, tokens - 1]], right))
    return rows
