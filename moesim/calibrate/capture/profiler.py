"""A few offloaded steps under `torch.profiler`: a Chrome trace whose regions are named by layer and expert.

Experts lie in host memory; each step copies those it needs into device slots on a copy stream and computes them on
another. The trace goes beside the capture (`NAME.offload.trace.json.gz`), without the host's name.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.ffn import Weights, draw, looped, reference
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.core import atomic

__all__ = ["plan", "run"]

_NAME = "profiler"


def plan(ctx: Context) -> list[Cell]:
    """One cell."""
    params = {"layers": 2, "experts": 8, "top_k": 2, "steps": 3}
    return [Cell(section=_NAME, op="offload", params=params, estimate=4.0 if ctx.quick else 10.0)]


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The row of the profiled steps (seconds: of each step without the profiler) and the trace beside the file."""
    if ctx.file is None:
        raise Unsupported("a trace needs a capture file to lie beside")
    layers, experts, top_k, steps = (int(cell.params[name]) for name in ("layers", "experts", "top_k", "steps"))
    d, f, dtype = (256, 192, "float32") if ctx.quick or not ctx.is_cuda else (2048, 768, "bfloat16")
    store = [draw(ctx, experts, d, f, dtype, "host") for _ in range(layers)]
    if ctx.is_cuda:
        store = [Weights(*(ctx.device.pin(t) for t in (w.w1, w.w3, w.w2))) for w in store]
    routes = [[ctx.rng.permutation(experts)[:top_k].tolist() for _ in range(layers)] for _ in range(steps)]
    x = ctx.random((1, d), dtype)
    moe = _Offloaded(ctx, store, top_k)
    size = {"float32": 4, "bfloat16": 2}[dtype]
    shape = {"d_model": d, "d_expert": f, **dict(cell.params)}
    row = Row(section=_NAME, op="offload", shape=shape, dtype=dtype, tokens=steps, distinct=layers * top_k)
    moved = 3 * d * f * size * layers * top_k * steps
    row = row.but(bytes=moved, flops=6 * d * f * layers * top_k * steps, method="eager")

    def work() -> Any:
        for step, route in enumerate(routes):
            out = moe.step(x, route, step)
        return out

    made = ctx.measure(row, work)
    with ctx.torch.inference_mode():
        trace = _profiled(ctx, work)
    name = ctx.file.path.name.removesuffix(".gz").removesuffix(".json") + ".offload.trace.json.gz"
    atomic.write_bytes(ctx.file.path.with_name(name), trace)
    made = made.but(detail={"trace": name})
    return [ctx.checked(made, moe.step(x, routes[-1], 0), moe.right(x, routes[-1]))]


def _profiled(ctx: Context, work: Any) -> bytes:
    with ctx.torch.profiler.profile() as seen:  # of all kinds that are there
        work()
        ctx.device.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        data = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    kept = {
        key: value
        for key, value in data.items()
        if key in ("schemaVersion", "deviceProperties", "traceEvents", "displayTimeUnit")
    }
    return gzip.compress(json.dumps(kept, separators=(",", ":")).encode(), mtime=0)


class _Offloaded:
    """Layers whose experts are copied into slots when they are needed."""

    def __init__(self, ctx: Context, store: list[Weights], slots: int) -> None:
        self._ctx, self._store = ctx, store
        empty, name = ctx.torch.empty_like, ctx.device.name
        self._slots = [
            Weights(*(empty(t[:1], device=name) for t in (store[0].w1, store[0].w3, store[0].w2))) for _ in range(slots)
        ]
        self._copies = ctx.device.stream()

    def step(self, x: Any, route: list[list[int]], step: int) -> Any:
        """One token through all layers; a layer adds the mean of its experts' outputs."""
        ctx, torch, device = self._ctx, self._ctx.torch, self._ctx.device
        named = torch.profiler.record_function
        with torch.inference_mode():
            for layer, ids in enumerate(route):
                with named(f"step {step} layer {layer}"):
                    parts = []
                    for slot, expert in zip(self._slots, ids, strict=True):
                        main = device.current()
                        device.wait(self._copies, main)  # the slot may still be in use
                        with named(f"copy layer {layer} expert {expert}"), device.on(self._copies):
                            own = self._store[layer].part(expert, expert + 1)
                            for to, source in zip(vars(slot).values(), vars(own).values(), strict=True):
                                to.copy_(source, non_blocking=ctx.is_cuda)
                        device.wait(main, self._copies)
                        with named(f"compute layer {layer} expert {expert}"):
                            parts.append(looped(torch, x, slot))
                    x = x + sum(parts[1:], parts[0]) / len(parts)
        return x

    def right(self, x: Any, route: list[list[int]]) -> Any:
        """The same in float64, from the host's weights."""
        torch = self._ctx.torch
        value = x.to(torch.float64).cpu()
        for layer, ids in enumerate(route):
            outs = [reference(torch, value, self._store[layer].part(e, e + 1), [0]) for e in ids]
            value = value + sum(outs[1:], outs[0]) / len(outs)
        return value.to(x.device)
