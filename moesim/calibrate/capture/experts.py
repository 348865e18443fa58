"""Expert math by size, tokens, distinct experts, type and method; the router; a sectional block.

`ffn` rows: `tokens` rows of input shared equally by `distinct` experts. `eager` issues the kernels one by one;
`graph` replays them, so that launches do not count. The `sectional` block cuts the embedding into sections: each has
its own attention over the whole sequence, then its own expert; one section is the ordinary block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from moesim.calibrate.capture.context import Context, is_memory
from moesim.calibrate.capture.ffn import METHODS, Weights, draw, reference
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.timing import Rotation

__all__ = ["plan", "run"]

_NAME = "experts"
_SHAPES = ((2048, 1), (2048, 64), (2048, 256), (2048, 768), (2880, 2880), (4096, 1024), (7168, 2048), (4096, 14336))
"""(d_model, d_expert): from one neuron over Qwen3-30B-A3B, gpt-oss-20b, DeepSeek-V3 to Mixtral 8x7B."""
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096)
_QUICK_SHAPES = ((256, 1), (256, 64), (512, 192))
_QUICK_TOKENS = (1, 16, 64)
_SIZE = {"float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1}


def plan(ctx: Context) -> list[Cell]:
    """Cells by shape, type and distinct experts."""
    quick = ctx.quick
    cells = []
    for dtype in ("bfloat16", "float8_e4m3fn"):
        for d_model, d_expert in _QUICK_SHAPES if quick else _SHAPES:
            if dtype.startswith("float8") and d_expert % 16:
                continue
            for distinct in (1, 4) if quick else (1, 8, 64):
                params = {"d_model": d_model, "d_expert": d_expert, "dtype": dtype, "distinct": distinct}
                cells.append(Cell(section=_NAME, op="ffn", params=params, estimate=0.6 if quick else 2.5))
    for d_model, experts, top_k in ((256, 32, 4),) if quick else ((2048, 128, 8), (2880, 32, 4), (4096, 8, 2)):
        params = {"d_model": d_model, "experts": experts, "top_k": top_k}
        cells.append(Cell(section=_NAME, op="router", params=params, estimate=0.4 if quick else 1.5))
    for length in (64, 256) if quick else (256, 1024, 4096, 16384):
        params = {"d_model": 256 if quick else 2048, "length": length}
        cells.append(Cell(section=_NAME, op="sectional", params=params, estimate=0.5 if quick else 2.0))
    return cells


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell."""
    return {"ffn": _ffn, "router": _router, "sectional": _sectional}[cell.op](ctx, dict(cell.params))


def _ffn(ctx: Context, p: dict[str, Any]) -> list[Row]:
    d, f, dtype, distinct = p["d_model"], p["d_expert"], p["dtype"], p["distinct"]
    ctx.dtype(dtype)
    expert = 3 * d * f * _SIZE[dtype]
    ctx.need(expert * distinct + 16 * d * f)
    # one pool of experts; a call takes the next `distinct` of them
    sets = ctx.turns(expert * distinct, most=64 if ctx.quick else 8192)
    pool = draw(ctx, sets * distinct, d, f, dtype)
    rows = []
    for tokens in _QUICK_TOKENS if ctx.quick else _TOKENS:
        if tokens % distinct:
            continue
        moved = expert * distinct + 2 * tokens * d * _SIZE[dtype]
        blank = Row(
            section=_NAME, op="ffn", shape={"d_model": d, "d_expert": f}, dtype=dtype, tokens=tokens,
            distinct=distinct, bytes=moved, flops=6 * tokens * d * f,
        )  # fmt: skip
        for method in ("scaled",) if dtype.startswith("float8") else ("looped", "batched", "grouped", "gathered"):
            if method == "batched" and distinct == 1:
                continue  # the same product as looped
            if method == "gathered" and (distinct == 1 or tokens > 64):
                continue
            rows += _method(ctx, blank.but(method=method), pool, sets)
    return rows


def _method(ctx: Context, row: Row, pool: Weights, sets: int) -> list[Row]:
    torch, tokens, distinct = ctx.torch, row.tokens, row.distinct
    d, f = int(row.shape["d_model"]), int(row.shape["d_expert"])
    size = _SIZE[row.dtype]
    extra = 8 * tokens * (d + f) * size + (3 * tokens * d * f * size if row.method == "gathered" else 0)
    if extra > ctx.room():
        return [row.as_skipped(f"does not fit: needs {extra:,} B more, {ctx.room():,} B can be had")]
    x = ctx.random((tokens, d), row.dtype)
    turn = Rotation([pool.part(i * distinct, (i + 1) * distinct) for i in range(sets)])
    kernel = METHODS[row.method]

    def call() -> Any:
        return kernel(torch, x, turn.next())

    try:
        with torch.inference_mode():
            out = kernel(torch, x, turn.items[0])
    except Unsupported as reason:
        return [row.as_skipped(str(reason))]
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if is_memory(error):
            return [row.as_skipped("does not fit: memory ran out")]
        if row.method not in ("grouped", "scaled"):
            raise
        return [row.as_skipped(f"torch refuses here: {' '.join(str(error).split())[:160]}")]
    some = sorted({0, tokens - 1, *(int(i) for i in ctx.rng.integers(0, tokens, 2))})
    right = reference(torch, x, turn.items[0], some)
    made = [ctx.checked(ctx.measure(row.but(method=f"{row.method} eager"), call), out[some], right)]
    if ctx.is_cuda:
        graph = row.but(method=f"{row.method} graph")
        made.append(ctx.attempt(graph, partial(_replayed, ctx, graph, turn, kernel, x, some, right)))
    return made


def _replayed(
    ctx: Context, row: Row, turn: Rotation[Weights], kernel: Callable[..., Any], x: Any, some: list[int], right: Any
) -> Row:
    """One graph that goes over several sets of experts; its time is shared among them."""
    torch, used = ctx.torch, turn.items[:8]
    last: dict[str, Any] = {}

    def work() -> None:
        for i, weights in enumerate(used):
            out = kernel(torch, x, weights)
            if i == 0:
                last["out"] = out

    try:
        with torch.inference_mode():
            replay = ctx.device.graph(work)
            replay()
        made = ctx.measure(row, replay)
        made = made.but(seconds=tuple(sample / len(used) for sample in made.seconds))
        return ctx.checked(made, last["out"][some], right)
    except (RuntimeError, Unsupported) as error:
        if is_memory(error):
            raise
        return row.as_skipped(f"no graph of it: {' '.join(str(error).split())[:160]}")


def _router(ctx: Context, p: dict[str, Any]) -> list[Row]:
    torch, rows, dtype = ctx.torch, [], "bfloat16"
    d, n, k = p["d_model"], p["experts"], p["top_k"]
    gates = [ctx.random((n, d), dtype, scale=d**-0.5) for _ in range(ctx.turns(n * d * 2))]
    for tokens in _QUICK_TOKENS if ctx.quick else _TOKENS:
        x = ctx.random((tokens, d), dtype)

        def route(x: Any = x, turn: Rotation[Any] = Rotation(gates)) -> Any:  # noqa: B008
            return torch.topk(torch.softmax((x @ turn.next().t()).float(), dim=-1), k)

        logits = x.to(torch.float64) @ gates[0].to(torch.float64).t()
        right = torch.topk(torch.softmax(logits, dim=-1), k).values
        row = Row(section=_NAME, op="router", shape={"d_model": d, "experts": n, "top_k": k}, dtype=dtype)
        row = row.but(tokens=tokens, bytes=2 * (n * d + tokens * d), flops=2 * tokens * d * n, method="eager")
        with torch.inference_mode():
            out = route().values
        rows.append(ctx.checked(ctx.measure(row, route), out, right))
    return rows


def _sectional(ctx: Context, p: dict[str, Any]) -> list[Row]:
    torch, rows, dtype = ctx.torch, [], "bfloat16"
    d, length = p["d_model"], p["length"]
    silu = torch.nn.functional.silu
    for sections in (1, 2, 4, 8):
        width = d // sections
        qkv = ctx.random((sections, width, 3 * width), dtype, scale=width**-0.5)
        up, gate, down = (ctx.random((sections, width, width), dtype, scale=width**-0.5) for _ in range(3))
        x = ctx.random((sections, length, width), dtype)
        weights = (x, qkv, up, gate, down)

        def block(x: Any, qkv: Any, up: Any, gate: Any, down: Any) -> Any:
            q, k, v = torch.bmm(x, qkv).chunk(3, dim=-1)
            heads = [_heads(t) for t in (q, k, v)]
            mixed = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
            mixed = mixed.transpose(1, 2).reshape(x.shape)
            return torch.bmm(silu(torch.bmm(mixed, gate)) * torch.bmm(mixed, up), down)

        heads = max(1, width // 64)
        shape: dict[str, int | str] = {"d_model": d, "sections": sections, "length": length, "heads": heads}
        # products with 3 + 3 square matrices of a section; scores and their product with v, half of it masked
        flops = sections * (2 * length * 6 * width * width + 2 * length * length * width)
        moved = 2 * (sum(t.numel() for t in weights) + x.numel())
        row = Row(section=_NAME, op="sectional", shape=shape, dtype=dtype, tokens=length, distinct=sections)
        with torch.inference_mode():
            out = block(*weights)
            checked = row.but(bytes=moved, flops=flops, method="batched eager")
            # the float64 scores of longer sequences are larger than what is measured
            right = block(*(t.to(torch.float64) for t in weights)) if length <= 1024 else None
        made = ctx.measure(checked, partial(block, *weights))
        rows.append(made if right is None else ctx.checked(made, out, right, 3e-2))
    return rows


def _heads(t: Any) -> Any:
    """[sections, length, width] -> [sections, heads, length, 64 or width]."""
    sections, length, width = t.shape
    heads = max(1, width // 64)
    return t.view(sections, length, heads, width // heads).transpose(1, 2)
