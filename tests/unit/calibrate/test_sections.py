"""Every section on the CPU, and its CUDA branches on a device that only says it is CUDA; wrong kernels are caught."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesim.calibrate.capture import attention, copies, experts, ffn, host, launch, memory, profiler, storage
from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.timing import ScriptedClock
from moesim.calibrate.show import overlaps
from tests.support.rehearsal import context, rehearsal

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on shared cores wait for each other far longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("section", [launch, copies, memory, experts, attention, host], ids=lambda m: m.__name__)
@pytest.mark.parametrize("made", [lambda: context(ScriptedClock(lambda about: 1e-3)), rehearsal], ids=["cpu", "cuda"])
def test_all_cells_run_and_are_right(section: Any, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesim.calibrate.capture.launch.HostClock", lambda *a, **k: ScriptedClock(lambda r: 1e-3))
    monkeypatch.setattr("moesim.calibrate.capture.memory.HostClock", lambda *a, **k: ScriptedClock(lambda r: 1e-3))
    monkeypatch.setattr("moesim.calibrate.capture.host.HostClock", lambda *a, **k: ScriptedClock(lambda r: 1e-3))
    ctx = made()
    cells = section.plan(ctx)
    assert len({cell.key for cell in cells}) == len(cells)
    timed = 0
    for cell in cells:
        try:
            rows = section.run(ctx, cell)
        except Unsupported:
            assert not ctx.is_cuda
            continue
        assert rows
        for row in rows:
            assert (row.section, row.op) == (cell.section, cell.op)
            assert not row.error, row
            assert row.seconds or row.skipped
            assert row.bytes + row.flops > 0
            timed += bool(row.seconds)
    assert timed >= 4


def test_a_scripted_link_is_recovered_through_the_section() -> None:
    """20 GB/s up, 10 down, 7 us a copy; half of the shorter is hidden when both run."""
    slow = {"h2d": 20e9, "d2h": 10e9}

    def price(about: Row) -> float:
        one = {way: 7e-6 + int(about.shape["size"]) / rate for way, rate in slow.items()}
        if about.op == "duplex":
            return sum(one.values()) - 0.5 * min(one.values()) if about.method == "both" else one[about.method]
        return one[about.op]

    ctx = rehearsal(price)
    rows = [row for cell in copies.plan(ctx) if cell.op in (*slow, "duplex") for row in copies.run(ctx, cell)]
    singles = [row for row in rows if row.op in slow]
    assert {row.method for row in singles} == {"pinned", "pageable"}
    for row in singles:
        assert row.bytes / (row.median - 7e-6) == pytest.approx(slow[row.op], rel=1e-12)
    [(_, hidden)] = overlaps(rows)
    assert hidden == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("fault", ["gate", "expert", "zeros", "nan"])
def test_a_wrong_kernel_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(torch_: Any, x: Any, w: ffn.Weights) -> Any:
        if fault == "gate":  # gate and up product mixed up
            return ffn.looped(torch_, x, ffn.Weights(w.w3, w.w1, w.w2))
        if fault == "expert":  # rows of one expert computed by another
            return ffn.looped(torch_, x, ffn.Weights(w.w1.flip(0), w.w3.flip(0), w.w2.flip(0)))
        out = ffn.looped(torch_, x, w)
        return out.zero_() if fault == "zeros" else out.fill_(float("nan"))

    monkeypatch.setitem(ffn.METHODS, "batched", wrong)
    ctx = context(ScriptedClock(lambda about: 1e-3))
    [cell] = [c for c in experts.plan(ctx) if "d_expert=64,dtype=bfloat16,distinct=4" in c.key]
    rows = experts.run(ctx, cell)
    assert {row.method for row in rows if row.error} == {"batched eager"}
    assert all("wrong output" in row.error and not row.ok for row in rows if row.error)
    assert any(row.ok for row in rows)


def test_a_copy_that_does_not_arrive_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_copier", lambda turn, non_blocking=True: lambda: None)
    ctx = rehearsal()
    rows = copies.run(ctx, copies.plan(ctx)[0])
    assert rows and all("differs" in row.error for row in rows)


def test_sizes_that_do_not_fit_are_skipped_and_recorded() -> None:
    ctx = rehearsal(free=5 << 20)
    rows = [row for cell in copies.plan(ctx) if cell.op == "h2d" for row in copies.run(ctx, cell)]
    assert {row.bytes for row in rows if row.seconds} == {4096, 65536, 1 << 20}
    assert {row.bytes for row in rows if "does not fit" in row.skipped} == {16 << 20}
    ctx = rehearsal(free=1 << 12)
    with pytest.raises(Unsupported, match="does not fit: needs"):
        experts.run(ctx, experts.plan(ctx)[-4])


def test_memory_that_runs_out_costs_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = rehearsal()
    one = attention._one

    def scarce(ctx_: Any, row: Row, sizes: Any, cache: int) -> Row:
        if row.shape["context"] == 256:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64 GiB")
        return one(ctx_, row, sizes, cache)

    monkeypatch.setattr(attention, "_one", scarce)
    rows = attention.run(ctx, attention.plan(ctx)[0])
    assert [(row.shape["context"], row.skipped) for row in rows] == [(64, ""), (256, "does not fit: memory ran out")]


def test_fp8_unsupported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context(ScriptedClock(lambda about: 1e-3))
    cell = next(c for c in experts.plan(ctx) if c.params.get("dtype") == "float8_e4m3fn")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0")

    monkeypatch.setattr(torch, "_scaled_mm", refuse, raising=False)
    rows = experts.run(ctx, cell)
    assert rows and all("compute capability" in row.skipped and not row.error for row in rows)
    monkeypatch.delattr(torch, "float8_e4m3fn")
    with pytest.raises(Unsupported, match="no float8_e4m3fn"):
        experts.run(ctx, cell)


def test_random_data_are_never_zeros_and_the_same_for_a_seed() -> None:
    ctx = context()
    ctx.rng = ctx.fresh("a")
    first = ctx.random((5, 1000), "bfloat16")
    assert abs(float(first.float().std()) - 1) < 0.05
    ctx.rng = ctx.fresh("a")
    assert torch.equal(first, ctx.random((5, 1000), "bfloat16"))
    ctx.rng = ctx.fresh("b")
    assert not torch.equal(first, ctx.random((5, 1000), "bfloat16"))
    assert int(ctx.random((1 << 16,), "uint8").min()) > 0
    long = ctx.random((3, 2_000_000), "float32")
    assert not torch.equal(long[0], long[2]) and bool((long != 0).float().mean() > 0.999)


def test_storage_reads_what_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(context().rng.bytes(5 << 20))
    for path in (file, tmp_path):
        ctx = replace(context(), path=path)
        rows = [row for cell in storage.plan(ctx) for row in storage.run(ctx, cell)]
        assert len(rows) == 6 and all(row.ok and len(row.seconds) >= 3 for row in rows)
        assert all(row.bytes == row.shape["size"] * row.shape["lanes"] * row.shape["reads"] for row in rows)  # type: ignore[operator]
        assert not any(str(tmp_path) in str(row.to_json()) for row in rows)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_storage_says_why_it_does_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no --path"):
        storage.run(context(), storage.plan(context())[0])
    small = tmp_path / "small"
    small.write_bytes(b"x")
    with pytest.raises(Unsupported, match="fewer than one read"):
        storage.run(replace(context(), path=small), Cell(section="storage", op="read", params={"size": 4096}))


@pytest.mark.parametrize("made", [context, rehearsal])
def test_the_profiler_writes_a_trace_with_named_regions(tmp_path: Path, made: Any) -> None:
    import gzip
    import json
    import platform

    ctx = made()
    ctx.file = CaptureFile(tmp_path / "c.json.gz", {}, {})
    [row] = profiler.run(ctx, profiler.plan(ctx)[0])
    assert row.ok and row.error_vs_float64 is not None
    text = gzip.decompress((tmp_path / str(row.detail["trace"])).read_bytes()).decode()
    names = {event.get("name", "") for event in json.loads(text)["traceEvents"]}
    assert {f"step {s} layer {n}" for s in range(3) for n in range(2)} <= names
    assert sum(name.startswith("copy layer 1 expert ") for name in names) >= 2
    assert len(platform.node()) < 4 or platform.node() not in text
