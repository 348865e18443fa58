"""Scaled dot-product attention: prefill (causal, all tokens new) and decode (one new token a sequence).

Shapes: q [B, H, n, h], k and v [B, KV, context, h], n = context in prefill and 1 in decode. FLOPs: 4 B H h context n,
half of it in prefill (the mask). Bytes: q, k, v and the output once. `math` expands the KV heads where torch has no
grouped-query attention.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.rows import Cell, Row
from moesim.calibrate.capture.timing import Rotation

__all__ = ["plan", "run"]

_NAME = "attention"
_HEADS = ((32, 4, 128), (32, 8, 128), (64, 8, 64))
"""(heads, KV heads, head size) of Qwen3-30B-A3B, Mixtral 8x7B, gpt-oss-20b."""
_CONTEXT = (128, 512, 2048, 8192, 32768)


def plan(ctx: Context) -> list[Cell]:
    """Cells by phase, heads and batch."""
    quick = ctx.quick
    cells = []
    for heads, kv, size in ((4, 2, 64),) if quick else _HEADS:
        for phase in ("prefill", "decode"):
            for batch in ((1,) if quick else (1, 4)) if phase == "prefill" else ((1, 4) if quick else (1, 4, 16, 64)):
                params = {"heads": heads, "kv_heads": kv, "head_size": size, "batch": batch}
                cells.append(Cell(section=_NAME, op=phase, params=params, estimate=0.4 if quick else 1.5))
    return cells


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell, by context."""
    p = cell.params
    heads, kv, size, batch = (int(p[name]) for name in ("heads", "kv_heads", "head_size", "batch"))
    rows = []
    for context in (64, 256) if ctx.quick else _CONTEXT:
        new = context if cell.op == "prefill" else 1
        cache = 2 * 2 * batch * kv * context * size
        moved = cache + 2 * 2 * batch * heads * new * size
        flops = 4 * batch * heads * size * context * new // (2 if new > 1 else 1)
        shape = {"context": context, "batch": batch, "heads": heads, "kv_heads": kv, "head_size": size}
        row = Row(section=_NAME, op=cell.op, shape=shape, dtype="bfloat16", tokens=batch * new)
        row = row.but(bytes=moved, flops=flops)
        if 4 * moved > ctx.room():
            rows.append(row.as_skipped(f"does not fit: needs {4 * moved:,} B, {ctx.room():,} B can be had"))
            continue
        sizes = (batch, heads, kv, context, new, size)
        rows.append(ctx.attempt(row, partial(_one, ctx, row, sizes, cache)))
    return rows


def _one(ctx: Context, row: Row, sizes: tuple[int, int, int, int, int, int], cache: int) -> Row:
    torch = ctx.torch
    batch, heads, kv, context, new, size = sizes
    attend = torch.nn.functional.scaled_dot_product_attention
    q = ctx.random((batch, heads, new, size), row.dtype)
    turn = Rotation(
        [
            tuple(ctx.random((batch, kv, context, size), row.dtype) for _ in range(2))
            for _ in range(ctx.turns(cache, most=8))
        ]
    )
    causal = new > 1

    def grouped() -> Any:
        k, v = turn.next()
        return attend(q, k, v, is_causal=causal, enable_gqa=True)

    def expanded() -> Any:
        k, v = (t.repeat_interleave(heads // kv, dim=1) for t in turn.next())
        return attend(q, k, v, is_causal=causal)

    fn, method = grouped, "sdpa"
    with torch.inference_mode():
        try:
            out = grouped()
        except TypeError:  # torch before 2.5
            fn, method = expanded, "sdpa expanded"
            out = expanded()
    k, v = turn.items[0]
    made = ctx.measure(row.but(method=method), fn)
    # one sequence, one head, the last queries: the rest is the same kernel
    b, h, last = batch - 1, heads - 1, min(new, 8)
    own = h // (heads // kv)
    q64, k64, v64 = q[b, h, -last:].double(), k[b, own].double(), v[b, own].double()
    scores = q64 @ k64.t() * size**-0.5
    if causal:
        positions = torch.arange(context, device=q.device)
        scores = scores.masked_fill(positions[None, :] > positions[-last:, None], float("-inf"))
    return ctx.checked(made, out[b, h, -last:], torch.softmax(scores, dim=-1) @ v64)
