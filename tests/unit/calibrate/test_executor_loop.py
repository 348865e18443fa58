"""The decode loop: its result is that of a resident run, its streams have no hazards, its rows rebuild the run."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.device import Device, open_device
from moesim.calibrate.capture.executor import grid
from moesim.calibrate.capture.executor.decisions import Decider, LayerProgram, Run
from moesim.calibrate.capture.executor.loop import MARKS, _compute, _Streams, execute
from moesim.calibrate.capture.executor.model import Model, Sizes
from moesim.calibrate.capture.rows import Row, Unsupported
from tests.support.decode_engine import durations, engine, make_trace

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Operations of microseconds on a busy machine: a second thread is only waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


GATE = {"prefetch": "next_gate", "prefetch_params": {"experts": 16, "recall": [0.7], "precision": [0.6]}}


def context(**kwargs: Any) -> Context:
    device = open_device("cpu")
    return Context(device=device, clock=device.clock(), quick=True, **kwargs)


def small(dtype: str, batch: int, steps: int = 6) -> tuple[Any, Any, Any, Any, Any]:
    """(trace, model, masks, inputs, sets) of two layers of 16 experts, two picks."""
    sizes = Sizes(layers=2, n_experts=16, top_k=2, d_model=32, d_expert=24, context=8, dtype=dtype)
    ctx = context()
    trace = make_trace(16, 2, batch, steps, 2)
    model = Model(torch, sizes, ctx.random)
    inputs = ctx.random((steps, batch, 32), dtype)
    return trace, model, model.masks(trace), inputs, Decider(trace, slots=0, expert_bytes=1).set_of


# ---- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("slots", [0, 1, 3, 8, 16])
@pytest.mark.parametrize("policy", [{}, GATE])
def test_result_equals_a_resident_run(dtype: str, batch: int, slots: int, policy: dict[str, Any]) -> None:
    """Staging slots, waves, evictions and wrong prefetches included: not a bit differs, order of compute or not."""
    trace, model, masks, inputs, sets = small(dtype, batch)
    decider = Decider(trace, slots=slots, expert_bytes=1, **policy)
    done = execute(open_device("cpu"), model, decider, masks, inputs)
    resident = model.resident(sets, masks, inputs)
    torch.testing.assert_close(done.outputs, resident, rtol=0, atol=0)
    reference = model.reference(sets, masks, inputs)
    error = float((done.outputs.double() - reference).norm() / reference.norm())
    # rounding of some ten operations in a row: a few units in the last place
    assert 0 < error < {"float32": 2**-20, "bfloat16": 2**-5}[dtype]


def test_reference_by_hand() -> None:
    """The mathematics of the docstring written out in numpy, token by token: only the experts that a token picked."""
    trace, model, masks, inputs, sets = small("float32", 4, steps=2)
    w, q, c = (t.double().numpy() for t in (model.experts, model.query, model.context))
    got = model.reference(sets, masks, inputs).numpy()

    def norm(x: Any) -> Any:
        return x / np.sqrt((x * x).mean() + 1e-6)

    for step, token in itertools.product(range(2), range(4)):
        x = inputs[step, token].double().numpy()
        for layer in range(2):
            scores = c[layer] @ (norm(x) @ q[layer]) / np.sqrt(32)
            p = np.exp(scores - scores.max())
            x = x + (p / p.sum()) @ c[layer]
            h = norm(x)
            for e in trace.experts[token * 2 + step, layer]:
                g, u, d = w[layer, e]
                a = g @ h
                x = x + 0.5 * (a / (1 + np.exp(-a)) * (u @ h)) @ d
        np.testing.assert_allclose(got[step, token], x, rtol=1e-9)


def test_an_expert_in_the_wrong_slot_is_caught() -> None:
    """The comparison can fail: one copy that goes elsewhere changes the result beyond what rounding explains."""
    trace, model, masks, inputs, sets = small("float32", 1)
    decider = Decider(trace, slots=4, expert_bytes=1)
    programs = list(decider.programs())
    at = next(i for i, p in enumerate(programs) if len(p.walk) == 2)
    a, b = programs[at].walk
    swapped = (a._replace(slot=b.slot), b._replace(slot=a.slot))
    programs[at] = LayerProgram(**{**vars(programs[at]), "walk": swapped})
    decider.programs = lambda: iter(programs)  # type: ignore[method-assign]
    done = execute(open_device("cpu"), model, decider, masks, inputs)
    resident = model.resident(sets, masks, inputs)
    error = float((done.outputs - resident).norm() / resident.norm())
    assert error > grid.EXACT["float32"]


# ---- streams -------------------------------------------------------------------------------------------------------


class _Event:
    recorded = False  # on its stream, when that comes to it

    def __init__(self) -> None:
        self.issued = False

    def record(self, stream: _Stream) -> None:
        self.issued = True
        stream.ops.append(("record", self, None))


class _Stream:
    def __init__(self) -> None:
        self.ops: deque[tuple[str, Any, Any]] = deque()

    def wait_event(self, event: _Event) -> None:
        assert event.issued, "CUDA does not wait for an event that was not recorded yet"
        self.ops.append(("wait", event, None))

    def wait_stream(self, other: _Stream) -> None:
        event = _Event()
        event.record(other)
        self.wait_event(event)


class _Machine(Device):
    """Two streams of recorded operations, to be run in any order that their events allow."""

    def __init__(self) -> None:
        super().__init__(torch, "cuda")
        self.compute, self.copy = _Stream(), _Stream()

    def current(self) -> Any:
        return self.compute

    def stream(self) -> Any:
        return self.copy

    def event(self, timing: bool = True) -> Any:
        return _Event()

    def run(self, choose: Any) -> None:
        """Works everything off; every read must find what it expects, at its begin and at its end."""
        content: dict[int, Any] = {}
        reading: tuple[int, Any] | None = None
        streams = [self.compute, self.copy]
        while any(s.ops for s in streams):
            able = [s for s in streams if s.ops and not (s.ops[0][0] == "wait" and not s.ops[0][1].recorded)]
            assert able, "deadlock"
            what, a, b = choose(able).ops.popleft()
            if what == "record":
                a.recorded = True
            elif what == "write":
                content[a] = b
            elif what == "read":
                reading = (a, b)
                assert content[a] == b
            elif what == "end":
                assert reading is not None
                assert content[reading[0]] == reading[1]


class _Slots(list[Any]):
    """Slots whose copies are recorded on the copy stream; compute that reads one is recorded on the other."""

    def __init__(self, machine: _Machine, count: int) -> None:
        def put(slot: int) -> Any:
            def copy_(source: Any, non_blocking: bool) -> None:
                assert non_blocking
                machine.copy.ops.append(("write", slot, source))

            return SimpleNamespace(slot=slot, copy_=copy_)

        super().__init__(put(i) for i in range(count))


@pytest.mark.parametrize("slots", [0, 1, 3, 8])
@pytest.mark.parametrize("order", ["compute first", "copies first", *range(8)])
def test_streams_have_no_hazards(slots: int, order: Any) -> None:
    """Whatever the speeds of copies and compute, each expert is computed from its own bytes, and nothing hangs."""
    trace = make_trace(16, 2, 4, 12)
    decider = Decider(trace, slots=slots, expert_bytes=1, **GATE)  # type: ignore[arg-type]
    machine = _Machine()
    weights = _Slots(machine, decider.n_slots)
    lanes = _Streams(machine, weights, [[(layer, e) for e in range(16)] for layer in range(3)])
    for program in decider.programs():
        expected = {op.slot: [] for op in program.rest}  # type: dict[int, list[Any]]
        for op in program.rest:
            if isinstance(op, Run):
                expected[op.slot].append((program.layer, op.expert))

        def expert(h: Any, read: Any, expected: dict[int, list[Any]] = expected) -> int:
            machine.compute.ops += [("read", read.slot, expected[read.slot].pop(0)), ("end", 0, 0)]
            return 1

        lanes.load(program.walk)
        lanes.load(program.prefetches)
        mask = dict.fromkeys(range(16), 1)
        model = SimpleNamespace(expert=expert, torch=SimpleNamespace(mul=lambda a, b, out: a))
        places = [0] * 16
        _compute(model, lanes, program.rest, weights, places, mask, None)  # type: ignore[arg-type]
    u = random.Random(order)
    pick = {"compute first": lambda able: able[0], "copies first": lambda able: able[-1]}
    machine.run(pick.get(order, u.choice))


@pytest.mark.parametrize("broken", ["ready", "read"])
def test_the_hazard_test_can_fail(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Streams, broken, lambda self, slots: None)
    with pytest.raises((AssertionError, KeyError)):
        for order in range(8):
            test_streams_have_no_hazards(3, order)


# ---- cells and rows ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    ctx = context(seed=4)
    cells = grid.plan(ctx)
    return [row for cell in cells for row in grid.run(ctx, cell)]


def test_the_plan_is_the_grid_of_the_issue(rows: list[Row]) -> None:
    cells = grid.plan(context())
    assert len({c.key for c in cells}) == len(cells) == 10
    assert {(c.params["granularity"], c.params["batch"]) for c in cells} == set(
        itertools.product((1, 2, 4, 8, 16), (1, 4))
    )
    told = {(r.shape["granularity"], r.shape["batch"], r.shape["share"], r.method) for r in rows}
    shares, methods = ("0", "0.25", "0.5", "0.75", "1"), ("prefetch off", "prefetch on")
    assert told == set(itertools.product((1, 2, 4, 8, 16), (1, 4), shares, methods))
    assert len(rows) == len(told)
    assert sum(c.estimate for c in cells) < 30
    full = open_device("cpu")
    assert all(c.params["tokens"] == 200 for c in grid.plan(Context(device=full, clock=full.clock())))


def test_rows_are_right_and_whole(rows: list[Row]) -> None:
    total = set()
    for row in rows:
        assert row.ok and row.error_vs_float64 is not None and row.error_vs_float64 < 1e-5
        assert row.detail["error_vs_resident"] <= 1e-6
        assert len(row.seconds) == 10 and min(row.seconds) > 0
        d = row.detail
        total.add(int(row.shape["n_experts"]) * d["expert_bytes"])
        assert int(row.shape["top_k"]) == row.shape["granularity"]
        steps, layers = 10, int(row.shape["layers"])
        for name in (*MARKS, "issue", "launch", "hits", "misses", "evictions", "prefetches", "used", "dropped"):
            assert np.shape(d[name]) == (steps, layers), name
        begun = np.array(d["start"]) * grid.TICK
        times = [np.array(d[name]) for name in MARKS[1:]]
        assert all((a <= b).all() for a, b in itertools.pairwise(times)) and (times[0] >= 0).all()
        spent = begun[:, -1] + times[-1][:, -1] * grid.TICK - begun[:, 0]
        np.testing.assert_allclose(spent, row.seconds, atol=3 * grid.TICK)
        moved = np.sum(d["misses"]) + np.sum(d["prefetches"])
        assert row.bytes == round(moved * d["expert_bytes"] / steps)
        written = json.loads(json.dumps(row.to_json()))
        assert Row.from_json(written).to_json() == row.to_json()
    assert len(total) == 1, "all granularities have the same bytes"


def test_the_simulator_makes_the_decisions_of_every_row(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the row alone: the trace made again, the policies, the slots; arbitrary durations, slow links included."""
    late = 0
    for number, row in enumerate(rows):
        d, p = row.detail, row.detail["policy"]
        trace = grid.driving_trace(json.loads(json.dumps(d["trace"])))
        seen = engine(
            trace,
            monkeypatch,
            slots=d["slots"],
            ticks=durations(number, ("fast", "middle", "slow")[number % 3]),
            prefetch=p["prefetch"],
            prefetch_params=p["prefetch_params"],
            eviction=p["eviction"],
            staging_slots=p["staging_slots"],
            grouping=d["grouping"],
            seed=p["seed"],
        )
        result = seen.result
        np.testing.assert_array_equal(d["hits"], result.hits + result.late)
        np.testing.assert_array_equal(d["misses"], result.misses)
        evictions = np.zeros_like(result.hits)
        for (step, layer), victims in seen.evictions.items():
            evictions[step, layer] = len(victims)
        np.testing.assert_array_equal(d["evictions"], evictions)
        decider = Decider(trace, slots=d["slots"], expert_bytes=1, **p)
        last = int(row.shape["layers"]) - 1
        assert [decider.residents() for q in decider.programs() if q.layer == last] == seen.residents
        copied = np.sum(np.array(d["misses"]) + np.array(d["prefetches"]), axis=1)
        np.testing.assert_array_equal(copied, result.step_bytes / 60)
        assert (result.counters["prefetches"] > 0) == (row.method == "prefetch on" and row.shape["share"] != "0")
        late += int(result.late.sum())
    assert late > 0


def test_sizes_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context()
    monkeypatch.setattr(Context, "room", lambda self, where="device": 1000)
    threads = torch.get_num_threads()
    with pytest.raises(Unsupported, match="does not fit"):
        grid.run(ctx, grid.plan(ctx)[0])
    assert torch.get_num_threads() == threads


def test_granularity_keeps_the_bytes() -> None:
    base = Sizes(layers=2, n_experts=16, top_k=1, d_model=64, d_expert=64, context=8, dtype="bfloat16")
    for g in (1, 2, 4, 8, 16):
        assert base.finer(g).total_bytes == base.total_bytes == 2 * 16 * 3 * 64 * 64 * 2
        assert base.finer(g).top_k * base.finer(g).expert_bytes == base.expert_bytes
    with pytest.raises(ValueError, match="granularity 3"):
        base.finer(3)


_BARE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pydantic", "ruamel", "simpy", "pandas", "plotly", "typer", "pyarrow", "rich"}:
            raise ImportError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Blocker())
from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.device import open_device
from moesim.calibrate.capture import executor
device = open_device("cpu")
ctx = Context(device=device, clock=device.clock(), quick=True)
rows = executor.run(ctx, executor.plan(ctx)[0])
print(len(rows), any(m.startswith("moesim.engine") for m in sys.modules))
"""


def test_runs_without_the_rest_of_moesims_dependencies() -> None:
    done = subprocess.run([sys.executable, "-c", _BARE], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "10 False\n", done.stdout + done.stderr
