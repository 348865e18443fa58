"""The executor's cells: granularity x batch, each with rows for cache share x prefetch.

A row holds one run of the decode loop: `seconds` of each token (step), and in `detail` what was decided and when it
happened, for each step and layer. `detail.trace` is what `moesim.routing.generate` needs to make the same trace again,
so that the simulator can be given the same run: decode batch of equally long sequences, one cache for each layer of
`slots` experts, `fifo` link, prefetch at `lookup` into the cache, the policies of `detail.policy`, cold caches.

N = 16 G experts and k = G picks: at a batch of 4 the largest set, 4 G, is the smallest cache above none (share 1/4).
Every set fits, so that decisions do not depend on times (`executor.decisions`). The prefetcher is `next_gate` with
precision 1 for the same reason; `previous` would move nothing in such caches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.executor.decisions import Decider, slots_of_share
from moesim.calibrate.capture.executor.loop import MARKS, Executed, execute
from moesim.calibrate.capture.executor.model import Model, Sizes
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.routing.generators import generate
from moesim.routing.trace import RoutingTrace

__all__ = [
    "BATCHES", "EXACT", "GRANULARITIES", "PREFETCH", "SHARES", "TICK", "driving_trace", "plan", "policy", "run",
    "sizes_for", "tokens_for",
]  # fmt: skip

GRANULARITIES = (1, 2, 4, 8, 16)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCHES = (1, 4)
PREFETCH = ("off", "on")
TICK = 1e-7
"""Seconds of one unit of the times in `detail`."""
EXACT = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}
"""Largest ||out - resident|| / ||resident||. The mathematics is the same, a library may choose other kernels."""

_LAW = {"exponent": 0.8, "repeat": 0.4}  # a synthetic law, not a model's: popular experts, and some repetition
_RECALL = 0.75
_STAGING = 2
_CHECKED = 2  # steps compared with float64


def sizes_for(ctx: Context) -> Sizes:
    """The model at granularity 1: 1.6 GB of experts on a CUDA device, 13 MB elsewhere, 1.6 MB in quick mode."""
    if ctx.is_cuda and not ctx.quick:
        return Sizes(layers=4, n_experts=16, top_k=1, d_model=2048, d_expert=2048, context=256, dtype="bfloat16")
    d, layers = (64, 2) if ctx.quick else (128, 4)
    dtype = "bfloat16" if ctx.is_cuda else "float32"
    return Sizes(layers=layers, n_experts=16, top_k=1, d_model=d, d_expert=d, context=64, dtype=dtype)


def tokens_for(ctx: Context) -> int:
    """Steps of a run."""
    return 10 if ctx.quick else 200


def driving_trace(settings: Mapping[str, Any]) -> RoutingTrace:
    """The trace of a row, from its `detail["trace"]`: the arguments of `moesim.routing.generate`."""
    return generate(**settings)


def policy(prefetch: str, n_experts: int, seed: int, staging_slots: int = _STAGING) -> dict[str, Any]:
    """Arguments of `Decider` for prefetch off or on."""
    on = prefetch == "on"
    params = {"experts": n_experts, "recall": [_RECALL], "precision": [1.0]} if on else {}
    return {
        "eviction": "lru",
        "prefetch": "next_gate" if on else "none",
        "prefetch_params": params,
        "staging_slots": staging_slots,
        "seed": seed,
    }


def plan(ctx: Context) -> list[Cell]:
    """One cell for each granularity and batch."""
    base, tokens = sizes_for(ctx), tokens_for(ctx)
    cells = []
    for granularity in GRANULARITIES:
        for batch in BATCHES:
            rows = len(SHARES) * len(PREFETCH)
            runs = rows * tokens * base.layers * batch * base.top_k * granularity
            # guesses to plan by, of no consequence for what is measured: bytes moved, calls made
            moved = 0.4 * runs * base.finer(granularity).expert_bytes
            copying, drawing, call = (3e10, 8e8, 60e-6) if ctx.is_cuda else (2e9, 2e8, 40e-6)
            estimate = 0.3 + moved / copying + runs * call + base.total_bytes / drawing
            params = {"granularity": granularity, "batch": batch, "tokens": tokens}
            cells.append(Cell(section="executor", op="decode", params=params, estimate=estimate))
    return cells


def run(ctx: Context, cell: Cell) -> list[Row]:
    """All shares, with and without prefetch, at one granularity and batch.

    With the CPU as device it runs on one thread: operations as small as these are slower on several, and on a busy
    machine by orders of magnitude.

    Raises Unsupported if the experts do not fit into host memory (twice while they are pinned) or onto the device.
    """
    threads = ctx.torch.get_num_threads()
    if not ctx.is_cuda:
        ctx.torch.set_num_threads(1)
    try:
        with ctx.torch.inference_mode():
            return _runs(ctx, cell)
    finally:
        ctx.torch.set_num_threads(threads)


def _runs(ctx: Context, cell: Cell) -> list[Row]:
    granularity, batch, tokens = (int(cell.params[name]) for name in ("granularity", "batch", "tokens"))
    sizes = sizes_for(ctx).finer(granularity)
    ctx.need(sizes.total_bytes * (2 if ctx.is_cuda else 1), "host")
    ctx.need(int(2.2 * sizes.total_bytes), "device")  # resident experts beside a cache of share 1
    settings = {
        "kind": "sticky_zipf",
        "n_layers": sizes.layers,
        "n_experts": sizes.n_experts,
        "top_k": sizes.top_k,
        "tokens": [tokens] * batch,
        "seed": ctx.seed,
        "params": dict(_LAW),
    }
    trace = driving_trace(settings)
    model = Model(ctx.torch, sizes, ctx.random, ctx.device.pin if ctx.is_cuda else None)
    inputs = ctx.random((tokens, batch, sizes.d_model), sizes.dtype)
    masks = model.masks(trace)
    sets = Decider(trace, slots=0, expert_bytes=sizes.expert_bytes).set_of
    resident = model.resident(sets, masks, inputs)
    reference = model.reference(sets, masks, inputs[:_CHECKED])
    rows = []
    for share in SHARES:
        for prefetch in PREFETCH:
            ctx.progress(f"executor: granularity {granularity}, batch {batch}, share {share:g}, prefetch {prefetch}")
            slots = slots_of_share(sizes.n_experts, share)
            policies = policy(prefetch, sizes.n_experts, ctx.seed)
            decider = Decider(trace, slots=slots, expert_bytes=sizes.expert_bytes, **policies)
            if slots and decider.largest_set() > slots:
                raise Unsupported(f"a set of {decider.largest_set()} experts exceeds a cache of {slots}")
            done = execute(ctx.device, model, decider, masks, inputs)
            row = _row(cell, ctx, sizes, share, prefetch, done)
            row = row.but(detail={**row.detail, "trace": settings, "policy": policies, "slots": slots})
            rows.append(_checked(ctx, row, done.outputs, resident, reference))
    return rows


def _checked(ctx: Context, row: Row, outputs: Any, resident: Any, reference: Any) -> Row:
    """Against the resident run at every step, and against float64 at the first."""
    torch = ctx.torch
    difference = (outputs.to(torch.float64) - resident.to(torch.float64)).norm()
    error = float(difference / resident.to(torch.float64).norm())
    finite = math.isfinite(error)  # NaN is not JSON
    row = row.but(detail={**row.detail, "error_vs_resident": float(f"{error:.4g}") if finite else None})
    if not error <= EXACT[row.dtype]:
        return row.as_failed(f"differs from the resident run by {error:.3g}, at most {EXACT[row.dtype]:.3g} is right")
    return ctx.checked(row, outputs[:_CHECKED].to("cpu"), reference)


def _row(cell: Cell, ctx: Context, sizes: Sizes, share: float, prefetch: str, done: Executed) -> Row:
    """One run. `bytes` and `flops` are means over its steps, rounded."""
    steps, batch = len(done.marks), done.outputs.shape[1]
    copies = sum(len(p.loads) + len(p.prefetches) for p in done.programs)
    runs = sum(len(p.experts) for p in done.programs)
    return Row(
        section="executor",
        op="decode",
        shape={
            **{name: value for name, value in asdict(sizes).items() if name != "dtype"},
            "granularity": cell.params["granularity"],
            "share": f"{share:g}",
            "batch": batch,
        },
        dtype=sizes.dtype,
        tokens=batch,
        distinct=round(runs / len(done.programs)),
        bytes=round(copies * sizes.expert_bytes / steps),
        flops=round(6 * runs * batch * sizes.d_model * sizes.d_expert / steps),
        seconds=tuple(done.step_seconds),
        method=f"prefetch {prefetch}",
        device=ctx.clock.name,
        cell=cell.key,
        detail={
            "expert_bytes": sizes.expert_bytes,
            "link": "copy stream, fifo, no cancelling" if ctx.is_cuda else "no streams: copies are made in line",
            "grouping": "each",
            "threads": ctx.torch.get_num_threads(),
            "unit_s": TICK,
            **_records(done, sizes.layers),
        },
    )


def _records(done: Executed, layers: int) -> dict[str, Any]:
    """Counts [S][L], and times [S][L] in units of `TICK`.

    `start` since the first layer's start; `lookup`, `walked`, `fetched`, `end` since that layer's own start (`MARKS`).
    `issue` and `launch` are host times.
    """

    def table(values: Sequence[int]) -> list[list[int]]:
        return [list(values[i : i + layers]) for i in range(0, len(values), layers)]

    def count(of: str) -> list[list[int]]:
        return table([len(getattr(p, of)) for p in done.programs])

    def ticks(seconds: float) -> int:
        return round(seconds / TICK)

    records: dict[str, Any] = {
        "hits": count("hits"),
        "used": count("used"),
        "misses": count("misses"),
        "evictions": count("evictions"),
        "prefetches": count("prefetches"),
        "dropped": table([p.dropped for p in done.programs]),
        "start": [[ticks(marks[0]) for marks in step] for step in done.marks],
        "issue": [[ticks(t) for t in step] for step in done.issue],
        "launch": [[ticks(t) for t in step] for step in done.launch],
    }
    for at, name in enumerate(MARKS[1:], 1):
        records[name] = [[ticks(marks[at] - marks[0]) for marks in step] for step in done.marks]
    return records
