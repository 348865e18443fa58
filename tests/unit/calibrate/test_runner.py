"""The run as a whole: killed, interrupted, out of memory, out of time, out of disk; what is left is always whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moesim.calibrate.capture import runner
from moesim.calibrate.capture.__main__ import main
from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.errors import InputError
from tests.support.rehearsal import context

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[3]
_ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

Act = Callable[[Context], list[Row]]


def _row(ctx: Context | None = None) -> list[Row]:
    return [Row(section="toy", op="x", seconds=(1.0,), bytes=1)]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Act]:
    """A section whose cells do what the test says."""
    acts: dict[str, Act] = {}

    def run(ctx: Context, cell: Cell) -> list[Row]:
        return acts[cell.op](ctx)

    def plan(ctx: Context) -> list[Cell]:
        return [Cell(section="toy", op=op, estimate=1.0) for op in acts]

    module = SimpleNamespace(plan=plan, run=run)
    monkeypatch.setattr(runner, "load", lambda name: module)
    monkeypatch.setattr(runner, "chosen", lambda only: ["toy"])
    return acts


def _go(path: Path, limit: float = 1e9, **more: Any) -> runner.Outcome:
    ctx = context()
    ctx.file = CaptureFile.resume(path, {"kit": 1}, {})
    return runner.run_cells(ctx, runner.plan(ctx), limit, **more)


def _raises(error: BaseException) -> Act:
    def act(ctx: Context) -> list[Row]:
        raise error

    return act


def test_one_cells_trouble_does_not_cost_the_others(tmp_path: Path, toy: dict[str, Act]) -> None:
    path = tmp_path / "c.gz"
    toy |= {
        "fine": _row,
        "oom": _raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")),
        "host oom": _raises(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")),
        "odd": _raises(ZeroDivisionError("division by zero")),
        "not here": _raises(Unsupported("no fp8")),
        "last": _row,
    }
    outcome = _go(path)
    assert outcome.done == 3 and not outcome.lost and not outcome.left
    assert [text.split(":")[1].strip() for text in outcome.failed] == [
        "out of memory",
        "out of memory",
        "ZeroDivisionError",
    ]
    assert outcome.skipped == ["toy/not here: no fp8"]
    file = CaptureFile.read(path)
    assert file.done == ["toy/fine", "toy/not here", "toy/last"]
    assert [(row.op, row.ok) for row in file.rows if row.op == "x"] == [("x", True)] * 2
    # what failed is tried again, what is done is not
    toy |= {"fine": _raises(AssertionError("again")), "oom": _row, "host oom": _row, "odd": _row}
    outcome = _go(path)
    assert (outcome.done, outcome.resumed, outcome.failed) == (3, 3, [])
    assert all(not row.error for row in CaptureFile.read(path).rows) and len(CaptureFile.read(path).done) == 6


def test_ctrl_c_leaves_what_was_done(tmp_path: Path, toy: dict[str, Act]) -> None:
    path = tmp_path / "c.gz"
    toy |= {"a": _row, "b": _raises(KeyboardInterrupt()), "c": _row}
    with pytest.raises(KeyboardInterrupt):
        _go(path)
    assert CaptureFile.read(path).done == ["toy/a"]
    toy["b"] = _row
    assert (_go(path).done, CaptureFile.read(path).done) == (2, ["toy/a", "toy/b", "toy/c"])


def test_no_cell_begins_that_does_not_fit_the_minutes(tmp_path: Path, toy: dict[str, Act]) -> None:
    now = [0.0]

    def slow(ctx: Context) -> list[Row]:
        now[0] += 1.0
        return _row()

    toy |= dict.fromkeys("abcde", slow)
    assert _go(tmp_path / "c.gz", limit=3.0, clock=lambda: now[0]).left == ["toy/d", "toy/e"]
    now[0] = 0.0
    outcome = _go(tmp_path / "c.gz", limit=3.0, clock=lambda: now[0])
    assert (outcome.done, outcome.resumed, outcome.left) == (2, 3, [])


def test_a_lost_device_ends_the_run(tmp_path: Path, toy: dict[str, Act], monkeypatch: pytest.MonkeyPatch) -> None:
    toy |= {"a": _row, "b": _raises(RuntimeError("CUDA error: an illegal memory access")), "c": _row}
    monkeypatch.setattr(runner, "_still_there", lambda device: "RuntimeError: CUDA error")
    outcome = _go(tmp_path / "c.gz")
    assert outcome.lost and CaptureFile.read(tmp_path / "c.gz").done == ["toy/a"]


def test_resumed_data_are_the_same_whatever_ran_before(tmp_path: Path, toy: dict[str, Act]) -> None:
    drawn: list[float] = []

    def draw(ctx: Context) -> list[Row]:
        drawn.append(float(ctx.rng.random()))
        return _row()

    toy |= {"a": draw, "b": draw}
    _go(tmp_path / "one.gz")
    toy["a"] = _row
    _go(tmp_path / "two.gz")
    assert drawn[1] == drawn[2] != drawn[0]


def test_a_plan_without_doubles(toy: dict[str, Act], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(section="toy", op="a")
    monkeypatch.setattr(runner, "load", lambda name: SimpleNamespace(plan=lambda ctx: [cell, cell]))
    with pytest.raises(ValueError, match="same key"):
        runner.plan(context())


def _capture(path: Path, *more: str) -> list[str]:
    only = [word for name in ("launch", "copies") for word in ("--only", name)]
    return [
        sys.executable,
        "-m",
        "moesim.calibrate.capture",
        "--device",
        "cpu",
        "--quick",
        "-o",
        str(path),
        *only,
        *more,
    ]


def test_killed_at_a_random_point_then_resumed_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "c.json.gz"
    waits = random.Random()  # a different point every time: any must do
    for _ in range(2):
        with subprocess.Popen(_capture(path), env=_ENV, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 60
            while not path.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(waits.uniform(0.0, 0.6))
            process.send_signal(signal.SIGKILL)
        assert CaptureFile.read(path).settings["device"] == "cpu"
    done = subprocess.run(_capture(path), env=_ENV, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file = CaptureFile.read(path)
    wanted = [c.key for c in runner.plan(runner.begin(runner.Options(device="cpu", quick=True)), ["launch", "copies"])]
    assert sorted(file.done) == sorted(wanted)
    assert {row.cell for row in file.rows} == set(wanted)
    rows = [(row.cell, tuple(row.shape.items()), row.method, row.tokens) for row in file.rows]
    assert len(set(rows)) == len(rows), "a cell was recorded twice"
    assert [p.name for p in tmp_path.iterdir()] == ["c.json.gz"]


def test_a_full_disk_is_said_and_the_file_stays_whole(tmp_path: Path) -> None:
    """A real limit of the system: files may not grow beyond 600 bytes."""
    path = tmp_path / "c.json.gz"
    main([*_capture(path)[3:], "--minutes", "0.0001"])
    before = path.read_bytes()
    assert len(before) < 600
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600));"
        "from moesim.calibrate.capture.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *_capture(path)[3:]]
    done = subprocess.run(command, env=_ENV, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "what was saved before is whole" in done.stderr
    file = CaptureFile.read(path)
    assert file.settings["device"] == "cpu" and [p.name for p in tmp_path.iterdir()] == ["c.json.gz"]


def test_bad_input_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "c.gz")
    for words, said in {
        ("--device", "cuda:99", "-o", path): "no such device",
        ("--device", "toaster", "-o", path): "no such device",
        ("--only", "copie", "-o", path): "nearest copies",
        (): "where should the capture go",
        ("-o", str(tmp_path)): "that is a folder",
        ("-o", path, "--path", str(tmp_path / "none")): "--path: no such file or folder",
        ("-o", path, "--minutes", "0"): "--minutes",
    }.items():
        assert main(list(words)) == 2
        assert said in capsys.readouterr().err
    assert not Path(path).exists()


def test_the_plan_prints_cells_and_fits_its_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan", "--quick", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "copies/h2d/memory=pageable" in said.out and said.err == ""
    ctx = runner.begin(runner.Options(device="cpu", quick=True))
    assert sum(cell.estimate for cell in runner.plan(ctx)) <= 180


def test_the_default_plan_fits_eight_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.rehearsal import rehearsal

    ctx = rehearsal(quick=False, free=100 << 30)
    ctx.path = Path("/")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    spent = {s: sum(c.estimate for c in runner.plan(ctx, [s])) for s in runner.chosen(())}
    assert sum(spent.values()) <= 480, spent


def test_progress_is_drawn_on_terminals_only() -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for to, shown in ((io.StringIO(), False), (Terminal(), True)):
        progress = runner.Progress(to)
        progress(0.5, "copies/h2d")
        progress.clear()
        assert ("copies/h2d" in to.getvalue()) is shown


def test_another_device_may_not_go_on(tmp_path: Path) -> None:
    path = tmp_path / "c.gz"
    ctx = runner.begin(runner.Options(device="cpu", quick=True, output=path))
    assert ctx.file is not None
    ctx.file.fingerprint["name"] = "another CPU"
    ctx.file.save()
    with pytest.raises(InputError, match="capture of another name"):
        runner.begin(runner.Options(device="cpu", quick=True, output=path))


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "c.json.gz"
    with subprocess.Popen(_capture(path), env=_ENV, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not path.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said
    assert said == "interrupted: the file is whole; the same command goes on from there\n"
    assert len(CaptureFile.read(path).done) < 19
