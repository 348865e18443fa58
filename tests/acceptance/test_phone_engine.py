"""The recorded phone run through the whole pipeline: scenario, plan, engine, against what the phone measured.

Qwen3-30B-A3B Q4_K_M, 6 of 8 experts a token, streamed from flash into a 4,000 MiB global LRU cache that evicts after
each layer. Hits and bytes are gates. Times are printed, not gated: how well they agree is a matter of calibration.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import moesim as ms
from moesim.engine.run import Run

FOLDER = Path("data/timed/oneplus-15r/qwen3-30b-a3b")
PADDING = 12_288  # bytes read beyond each expert: three reads, each a page longer
PREFILL_MS = 6333  # the last line of tokens.csv


@pytest.fixture(scope="module")
def run(shared: Path) -> Run:
    scenario = ms.load("oneplus-15r-qwen3").replace({"routing.path": str(shared / FOLDER / "route.csv.gz")})
    return ms.simulate(scenario, check=True)


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, list[float]]:
    """Columns of tokens.csv, one value for each of the 128 decode steps."""
    with (shared / FOLDER / "tokens.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["cache_hit_pct"]]  # a line of totals ends the file
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def test_every_recorded_step_runs(run: Run, recorded: dict[str, list[float]]) -> None:
    assert run.summary["steps"] == {"prefill": 1, "decode": len(recorded["step"])}
    assert run.plan.step_tokens[0] == 28
    # only the last prompt token reaches the last layer
    assert run.plan.pick_ptr[48] - run.plan.pick_ptr[47] == 6


def test_lookups_and_cumulative_hit_rate(run: Run, recorded: dict[str, list[float]]) -> None:
    assert run.summary["lookups"] == 39_526
    assert 100 * run.summary["hit_rate"] == pytest.approx(74.88, abs=0.02)
    r = run.result
    rate = 100 * r.hits.sum(axis=1).cumsum() / (r.hits + r.misses).sum(axis=1).cumsum()
    far = np.abs(rate[1:] - recorded["cache_hit_pct"]).max()
    print(f"cumulative hit rate {rate[-1]:.4f} %; largest difference after any token {far:.4f} point")
    assert far < 0.0051  # the recording has two decimals


def test_bytes_read(run: Run, recorded: dict[str, list[float]]) -> None:
    """misses * (expert + padding), which is what the phone recorded."""
    per_step = (run.result.misses * (run.plan.expert_bytes + PADDING)).sum(axis=1)
    assert run.summary["bytes_read"] == per_step.sum()
    ours, theirs = int(per_step[1:].sum()), int(sum(recorded["read_bytes"]))
    print(f"decode reads {ours} B, recorded {theirs} B: {100 * (ours / theirs - 1):+.3f} %")
    assert abs(ours - theirs) <= 512
    exact = int((per_step[1:] == np.array(recorded["read_bytes"])).sum())
    print(f"{exact} of 128 steps read exactly the recorded bytes")
    assert exact >= 127  # one of the recorded numbers is 512 B short of whole experts


def test_time_per_token_beside_the_phones(run: Run, recorded: dict[str, list[float]]) -> None:
    """No gate on time. The sums are the engine's own, so that the print is about the run that was checked above."""
    took = (run.result.step_end - run.result.step_start)[1:] / 1e9
    wall = np.array(recorded["wall_ms"])
    parts = run.summary["breakdown_ms"]
    stall = sum(parts[name] for name in ("stall_storage", "stall_cache", "stall_link"))
    compute = sum(parts[name] for name in ("attention", "router", "experts", "head", "shared", "dense"))
    lines = [
        ("wall", took.mean(), wall.mean()),
        ("wall, median", float(np.median(took)), float(np.median(wall))),
        ("compute", compute, float(np.mean(recorded["compute_ms"]))),
        ("stall", stall, float(np.mean(recorded["stall_ms"]))),
        ("management", parts["management"], float(np.mean(recorded["mgmt_ms"]))),
    ]
    for name, ours, theirs in lines:
        print(f"{name:<14}{ours:8.2f} ms a token, measured {theirs:8.2f} ms: {100 * (ours / theirs - 1):+.1f} %")
    print(f"median of the steps' own errors {100 * float(np.median(took / wall - 1)):+.1f} %")
    prefill = run.summary["ttft_ms"]
    print(f"prefill {prefill:.0f} ms, measured {PREFILL_MS} ms: {100 * (prefill / PREFILL_MS - 1):+.1f} %")
    print(f"correlation over the steps {np.corrcoef(took, wall)[0, 1]:.3f}")
    assert took.mean() == pytest.approx(run.summary["tpot_ms"]["mean"])
    assert sum(parts.values()) == pytest.approx(took.mean())
