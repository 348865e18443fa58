"""What control costs: a kernel launch, a graph replay, a round trip, router ids on the host, issuing a copy.

`kernel` on the device's clock is the interval of small kernels issued back to back; `issue` is what one costs the
host; `roundtrip` is launch and wait. `router_ids` copies top-k ids to the host as an engine must before it can look
them up. `copy_issue` is the host's time to hand one asynchronous copy over, alone or many in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.timing import HostClock

__all__ = ["plan", "run"]

_NAME = "launch"
_TOKENS = (1, 16, 256, 4096)


def plan(ctx: Context) -> list[Cell]:
    """One cell an operation."""
    each = 0.3 if ctx.quick else 1.5
    return [Cell(section=_NAME, op=op, estimate=each) for op in _OPS]


def run(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell."""
    return _OPS[cell.op](ctx)


def _waiting(ctx: Context) -> HostClock:
    return HostClock("host", ctx.device.synchronize)


def _issuing(ctx: Context) -> HostClock:
    return HostClock("host", ctx.device.synchronize, wait=False)


def _kernel(ctx: Context) -> list[Row]:
    x = ctx.random((32,))
    before = x.to(ctx.torch.float64)
    row = Row(section=_NAME, op="kernel", dtype="float32", bytes=256, flops=32)

    def launch() -> None:
        ctx.torch.add(x, 1.0, out=out)

    out = ctx.torch.empty_like(x)
    rows = [
        ctx.measure(row.but(method="back to back"), launch),
        ctx.measure(row.but(method="issue"), launch, clock=_issuing(ctx)),
    ]

    def trip() -> None:
        launch()
        ctx.device.synchronize()

    rows.append(ctx.measure(row.but(method="roundtrip"), trip, clock=_waiting(ctx)))
    return [ctx.checked(row, out, before + 1) for row in rows]


def _graph(ctx: Context) -> list[Row]:
    x = ctx.random((32,))
    before = x.to(ctx.torch.float64)
    rows = []
    for kernels in (1, 8, 64):
        out = ctx.torch.empty_like(x)

        def work(out: object = out, kernels: int = kernels) -> None:
            for _ in range(kernels):
                ctx.torch.add(x, 1.0, out=out)

        shape = {"kernels": kernels}
        row = Row(section=_NAME, op="graph", shape=shape, dtype="float32", bytes=256 * kernels, flops=32 * kernels)
        replay = ctx.device.graph(work)
        out.fill_(float("nan"))
        rows.append(ctx.measure(row.but(method="replay"), replay))
        rows.append(ctx.measure(row.but(method="issue"), replay, clock=_issuing(ctx)))
        rows = [*rows[:-2], *(ctx.checked(row, out, before + 1) for row in rows[-2:])]
    return rows


def _router_ids(ctx: Context) -> list[Row]:
    torch, rows = ctx.torch, []
    for tokens in _TOKENS[:2] if ctx.quick else _TOKENS:
        logits = ctx.random((tokens, 128))
        row = Row(section=_NAME, op="router_ids", dtype="int64", shape={"top_k": 8, "experts": 128}, tokens=tokens)
        row = row.but(bytes=tokens * 8 * 8, method="topk and copy")
        ids = torch.topk(logits, 8).indices

        def alone(ids: Any = ids) -> Any:
            return ids.cpu()

        def whole(logits: Any = logits) -> Any:
            return torch.topk(logits, 8).indices.cpu()

        # equal numbers may come in either order: what was picked is compared by value
        exact = logits.cpu().to(torch.float64)
        right = torch.equal(exact.gather(1, whole()), torch.topk(exact, 8).values)
        for method, fn in (("topk and copy", whole), ("copy", alone)):
            made = ctx.measure(row.but(method=method), fn, clock=_waiting(ctx))
            rows.append(made.but(error_vs_float64=0.0) if right else made.as_failed("wrong output: other ids"))
    return rows


def _copy_issue(ctx: Context) -> list[Row]:
    torch, rows = ctx.torch, []
    for size in (4096, 1 << 20):
        count = 16
        ctx.need(2 * size * count, "host")
        host = ctx.random((count, size), "uint8", "host")
        memory = "pageable"
        if ctx.is_cuda:
            host, memory = ctx.device.pin(host), "pinned"
        target = torch.empty((count, size), dtype=torch.uint8, device=ctx.device.name)
        tos, froms = list(target.unbind()), list(host.unbind())

        def loop(tos: list[object] = tos, froms: list[object] = froms) -> None:
            for to, source in zip(tos, froms, strict=True):
                to.copy_(source, non_blocking=True)  # type: ignore[attr-defined]

        def batched(tos: list[object] = tos, froms: list[object] = froms) -> None:
            torch._foreach_copy_(tos, froms, non_blocking=True)

        ways: list[tuple[str, Callable[[], None]]] = [("loop", loop)]
        if hasattr(torch, "_foreach_copy_"):
            ways.append(("batched", batched))
        for method, fn in ways:
            shape: dict[str, int | str] = {"copies": count, "size": size, "memory": memory}
            row = Row(section=_NAME, op="copy_issue", shape=shape, dtype="uint8", bytes=size * count, method=method)
            made = ctx.measure(row, fn, clock=_issuing(ctx))
            ctx.device.synchronize()
            right = torch.equal(target.cpu(), host.cpu())
            rows.append(made.but(error_vs_float64=0.0) if right else made.as_failed("wrong output: the copy differs"))
    return rows


def _stream_switch(ctx: Context) -> list[Row]:
    """A kernel that waits for an event of another stream: what an arriving expert costs the compute stream."""
    if not ctx.is_cuda:
        raise Unsupported(f"no streams with device {ctx.device.kind}")
    device, x = ctx.device, ctx.random((32,))
    side, out, other = device.stream(), ctx.torch.empty_like(x), ctx.torch.empty_like(x)

    def hop() -> None:
        main = device.current()
        device.wait(side, main)
        with device.on(side):
            ctx.torch.add(x, 1.0, out=other)
        device.wait(main, side)
        ctx.torch.add(other, 1.0, out=out)

    row = Row(section=_NAME, op="stream_switch", dtype="float32", bytes=512, flops=64, method="there and back")
    made = ctx.measure(row, hop)
    return [ctx.checked(made, out, x.to(ctx.torch.float64) + 2)]


_OPS: dict[str, Callable[[Context], list[Row]]] = {
    "kernel": _kernel,
    "graph": _graph,
    "router_ids": _router_ids,
    "copy_issue": _copy_issue,
    "stream_switch": _stream_switch,
}
