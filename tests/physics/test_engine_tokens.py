"""Time per token through the whole pipeline against closed forms typed here: all hits, no hits, the roofline.

The machine of round numbers: memory reads 1 B a ps, the link 1 B in 40 ps, t0 10 us, d2h_sync + lookup 10 us, issue
1 us, host gap 50 us, no launches. The tiny model: two layers of width 1000, 8 experts of 6,000,000 B, top-2, bf16.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import moesim as ms
from tests.support.deviation import agrees
from tests.support.tiny import EXPERT, tiny

US = 10**6  # ticks
TAU = 10 * US + EXPERT * 40
CONTROL, GAP = 10 * US, 50 * US
PROJECTIONS = 2 * (2 * 1000 * 1000 + 2 * 1000 * 200) + 2 * 2000  # bytes: queries, keys, values, output; two norms
MOVED = 4000 + 2 * 4000  # bytes of a token through attention: in and out, inner ones twice
KV = 2 * 200 * 2  # bytes of keys and values of one token of context
ROUTER = 2 * 1000 * 8 + 2 * 1008
PAIR = 4000 + 4000  # bytes of a token through an expert
HEAD = 2 * 1000 * 1000 + 2000 + 4000


def attention(context: int) -> int:
    """Both layers: weights, keys and values read and written; the embedding's row in the first."""
    return 2 * (PROJECTIONS + MOVED + KV * (context + 1)) + 2000


def test_all_hits(tmp_path: Path) -> None:
    """Everything there from the start: a token takes compute and control, nothing else, and nothing moves."""
    scenario = tiny(
        tmp_path, expert_cache__capacity={"slots_per_layer": 8}, expert_cache__initial="trace",
        workload__output_tokens=20,
    )  # fmt: skip
    run = ms.simulate(scenario, check=True)
    assert run.summary["hit_rate"] == 1
    assert run.summary["bytes_loaded"] == run.result.counters["link_busy"] == run.result.layer_stall_ps.sum() == 0
    took = run.result.step_end - run.result.step_start
    for step in range(1, 20):
        terms = {"attention": attention(2 + step), "router": 2 * ROUTER, "control": 2 * CONTROL,
                 "experts": 2 * (2 * EXPERT + 2 * PAIR), "head": HEAD, "gap": GAP}  # fmt: skip
        agrees(f"token {step}, context {2 + step}", int(took[step]), terms)


@pytest.mark.parametrize("grouping", ["each", "hits_then_arrived", "hits_then_rest", "after_all"])
def test_no_hits(tmp_path: Path, grouping: str) -> None:
    """Two experts, top-2, both reset away before each token: both are loaded in every layer of every token.

    Loads follow one another from the first issue on; the last expert computes behind the last load, or both together
    where the grouping waits for all.
    """
    scenario = tiny(
        tmp_path, model__n_experts=2, expert_cache__capacity={"slots_per_layer": 2}, expert_cache__reset="sequence",
        workload={"kind": "batch", "prompt_tokens": 1, "output_tokens": 1, "sequences": 10},
        schedule__grouping=grouping,
    )  # fmt: skip
    run = ms.simulate(scenario, check=True)
    assert run.summary["hits"] == 0
    last = 1 if grouping in ("each", "hits_then_arrived") else 2
    terms = {"attention": attention(1), "router": 2 * (2 * 1000 * 2 + 2 * 1002), "control": 2 * CONTROL,
             "first issues": 2 * US, "2 layers * k tau": 4 * TAU, "last experts": 2 * last * (EXPERT + PAIR),
             "head": HEAD, "gap": GAP}  # fmt: skip
    took = run.result.step_end - run.result.step_start
    for step in range(10):
        agrees(f"{grouping}, token {step}", int(took[step]), terms)
    agrees("bytes", run.summary["bytes_loaded"], {"tokens * layers * k * bytes": 10 * 2 * 2 * EXPERT})


@pytest.mark.parametrize(("bandwidth", "rate"), [("1 TB/s", 1), ("500 GB/s", 2), ("2 TB/s", 0.5)])
def test_roofline(tmp_path: Path, bandwidth: str, rate: float) -> None:
    """Memory-bound decode with all experts resident: active bytes over bandwidth (activations aside: 0.2 %)."""
    scenario = tiny(
        tmp_path, hardware__accelerator__memory__bandwidth=bandwidth, expert_cache__capacity={"slots_per_layer": 8},
        expert_cache__initial="trace", expert_cache__lookup="device", hardware__runtime__host_gap="0 s",
    )  # fmt: skip
    run = ms.simulate(scenario, check=True)
    took = run.result.step_end - run.result.step_start
    weights = 2 * (PROJECTIONS + 2 * 1000 * 8 + 2 * EXPERT) + HEAD - 4000
    for step in (1, 2, 3):
        keys = 2 * KV * (3 + step)
        agrees(
            f"token {step} at {bandwidth}", int(took[step]),
            {"weights": int(weights * rate), "keys and values": int(keys * rate)}, percent=0.2,
        )  # fmt: skip


def test_the_roofs_ridge(tmp_path: Path) -> None:
    """Prefill in one expert: bytes rule up to 53 tokens, arithmetic from 54 on."""
    took = {}
    for tokens in (32, 53, 54, 256):
        scenario = tiny(
            tmp_path, model__n_layers=1, model__n_experts=1, model__top_k=1, workload__prompt_tokens=tokens,
            workload__output_tokens=1, expert_cache__initial="trace", expert_cache__capacity={"slots_per_layer": 1},
        )  # fmt: skip
        run = ms.simulate(scenario, check=True)
        took[tokens] = round(run.summary["breakdown_prefill_ms"]["experts"] * 10**9)
    for tokens, ticks in took.items():
        # 6 MFLOP a token at 50 FLOP a ps, against the weights once and 8,000 B a token
        arithmetic, moved = 120_000 * tokens, EXPERT + PAIR * tokens
        name = "arithmetic" if arithmetic > moved else "bytes"
        agrees(f"{tokens} tokens", ticks, {name: max(arithmetic, moved)})
    # 120,000 n = 6,000,000 + 8,000 n at n = 53.6


def test_more_bandwidth_less_time(tmp_path: Path) -> None:
    """The link's share of a token scales with 1 / bandwidth: stalls at 25, 50 and 100 GB/s (t0 = 0) are 4 : 2 : 1."""
    scenario = tiny(
        tmp_path, model__n_experts=2, expert_cache__capacity={"slots_per_layer": 2}, expert_cache__reset="sequence",
        schedule__grouping="after_all",
        hardware__links__host_to_device__copy_overhead="0 s", hardware__runtime__issue="0 s",
        workload={"kind": "batch", "prompt_tokens": 1, "output_tokens": 1, "sequences": 3},
    )  # fmt: skip
    for bandwidth, per_byte in (("25 GB/s", 40), ("50 GB/s", 20), ("100 GB/s", 10)):
        run = ms.simulate(scenario.replace({"hardware.links.host_to_device.bandwidth": bandwidth}), check=True)
        agrees(f"stall at {bandwidth}", int(run.result.layer_stall_ps.sum()), {"bytes": 3 * 4 * EXPERT * per_byte})
