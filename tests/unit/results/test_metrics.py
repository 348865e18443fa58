"""Figures against hand-computed numbers, and the glossary against what is reported."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from moesim.plan.plan import Plan
from moesim.results.metrics import GLOSSARY, nearest_rank, summary
from moesim.results.result import BREAKDOWN, COUNTERS, Result
from tests.support.plans import small_plan

MS = 10**9


def made(plan: Plan, durations: list[int], **counters: int) -> Result:
    """A result with the given step durations (ms), all of it attention, and nothing else but `counters`."""
    steps, layers = plan.n_steps, plan.n_layers
    end = np.cumsum(np.array(durations, dtype=np.int64) * MS)
    took = np.zeros((steps, len(BREAKDOWN)), dtype=np.int64)
    took[:, 0] = np.array(durations) * MS
    zeros = np.zeros((steps, layers), dtype=np.int64)
    return Result(
        engine="hand", step_start=np.concatenate([[0], end[:-1]]), step_end=end,
        layer_end=np.repeat(end[:, None], layers, axis=1), breakdown_ps=took, hits=zeros, late=zeros, misses=zeros,
        layer_stall_ps=zeros, step_bytes=np.zeros(steps, dtype=np.int64), residency=zeros.astype(np.int32),
        counters=dict.fromkeys(COUNTERS, 0) | counters,
    )  # fmt: skip


def two_batches() -> Plan:
    """Batch 0: two prefill chunks (the second makes the first token), 3 decode steps; batch 1: one chunk, 2 decodes."""
    return small_plan(
        [[[0]]] * 8,
        prefill=[True, True, False, False, False, True, False, False],
        batches=[0, 0, 0, 0, 0, 1, 1, 1],
    )


def test_every_figure_is_defined_and_none_is_left_over(toy: tuple[Plan, Result]) -> None:
    figures = summary(*toy)
    assert set(figures) == set(GLOSSARY)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    nulls = {k for k, v in figures.items() if v is None} | {
        f"prefetch.{k}" for k, v in figures["prefetch"].items() if v is None
    }
    assert nulls == set(figures["undefined"])


def test_latency_figures_by_hand() -> None:
    plan = two_batches()
    figures = summary(plan, made(plan, [100, 60, 10, 30, 20, 90, 40, 50]), "f" * 64)
    assert figures["tokens"] == 7  # 1 + 3, 1 + 2
    # batch 0: 160 ms from its first chunk's start to its second chunk's end; batch 1: 90 ms
    assert figures["ttft_ms"] == 125.0
    assert figures["ttft_max_ms"] == 160.0
    assert figures["tokens_per_s"] == pytest.approx(5 / 0.150, rel=1e-15)
    # sorted 10 20 30 40 50: ranks ceil(2.5) = 3, ceil(4.75) = 5, 5
    assert figures["tpot_ms"] == {"mean": 30.0, "p50": 30.0, "p95": 50.0, "p99": 50.0}
    assert figures["breakdown_ms"]["attention"] == 30.0
    assert figures["breakdown_prefill_ms"]["attention"] == 125.0  # 160 and 90
    assert figures["elapsed_ms"] == 400.0
    assert figures["steps"] == {"prefill": 3, "decode": 5}
    assert figures["scenario_hash"] == "f" * 64


def test_tokens_of_a_batch_count_one_by_one() -> None:
    plan = small_plan([[[[0], [1]]], [[[0]]]], tokens=[2, 1])  # two sequences, then one has ended
    figures = summary(plan, made(plan, [10, 40]))
    assert figures["tpot_ms"] == {"mean": 20.0, "p50": 10.0, "p95": 40.0, "p99": 40.0}
    assert figures["tokens_per_s"] == pytest.approx(3 / 0.050)


def test_percentiles_are_by_nearest_rank() -> None:
    values, ones = np.arange(100, 0, -1), np.ones(100, dtype=np.int64)
    assert [nearest_rank(values, ones, p) for p in (0, 1, 50, 95, 99, 100)] == [1, 1, 50, 95, 99, 100]
    assert nearest_rank(np.array([7]), np.array([3]), 99) == 7
    assert nearest_rank(np.array([1, 9]), np.array([99, 1]), 99) == 1
    assert nearest_rank(np.array([1, 9]), np.array([98, 2]), 99) == 9
    with pytest.raises(ValueError, match="nothing"):
        nearest_rank(np.array([1]), np.array([0]), 50)


def test_rates_and_shares() -> None:
    plan = small_plan([[[0]], [[1]]], D=60, expert_bytes=60, lanes=2, path="storage+link", read_ps=50)
    figures = summary(plan, made(plan, [1, 1], link_busy=MS, storage_busy=MS, stream_busy=MS // 2, hits=3, lookups=4))
    assert figures["link_utilization"] == 0.5
    assert figures["storage_utilization"] == 0.25  # two lanes
    assert figures["compute_utilization"] == 0.25
    assert figures["hit_rate"] == 0.75
    assert figures["link_peak_bytes_per_s"] == 1e12  # 60 B in 60 ps
    assert figures["storage_peak_bytes_per_s"] == pytest.approx(2 * 60 / 50e-12)


def test_what_is_not_defined_says_why() -> None:
    plan = small_plan([[[0]]], prefill=[True], path="storage")
    figures = summary(plan, made(plan, [10]))
    for name in ("tokens_per_s", "tpot_ms", "hit_rate", "hit_rate_decode", "breakdown_ms", "link_utilization"):
        assert figures[name] is None
        assert figures["undefined"][name].startswith("no ")
    assert figures["ttft_ms"] == 10.0


def test_wasted_time_is_not_hidden(toy: tuple[Plan, Result]) -> None:
    plan, result = toy
    figures = summary(plan, result)
    assert sum(figures["breakdown_ms"].values()) == pytest.approx(
        float((result.step_end - result.step_start)[~plan.step_prefill].mean()) / MS, rel=1e-12
    )
    slower = replace(result, counters=result.counters | {"bytes_wasted": 5})
    assert summary(plan, slower)["bytes_wasted"] == 5
