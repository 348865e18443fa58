"""Loads and reads through the whole pipeline against closed forms typed here, deviation and terms printed.

The machine of round numbers: memory reads 1 B a ps, the link 1 B in 40 ps (25 GB/s), t0 10 us, d2h_sync 7 us, lookup
3 us, issue 1 us, host gap 50 us. One expert of the tiny model: 6,000,000 B.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import moesim as ms
from moesim.engine.run import Run
from tests.support.deviation import agrees
from tests.support.tiny import EXPERT, tiny

US = 10**6  # ticks
LINK = 40  # ticks a byte
T0, ISSUE, CONTROL, GAP = 10 * US, 1 * US, 10 * US, 50 * US
ATTENTION = 2 * (2 * 1000 * 1000 + 2 * 1000 * 200) + 2 * 2000 + 4000 + 2 * 4000 + 800 * 2 + 2000
"""First layer, first token: projections, two norms, activations in and out, inner ones twice, keys and values of the
token written and read, an embedding row."""
HEAD = 2 * 1000 * 1000 + 2000 + 2 * 2000


def router(experts: int) -> int:
    return 2 * 1000 * experts + 2 * (1000 + experts)


def expert(width: int = 1000) -> int:
    """One expert on one token: its weights, the token in and out, the inner activations written and read."""
    return 3 * 1000 * width * 2 + 2 * 2000 + 2 * 2 * width


def one_token(folder: Path, experts: int, **changes: Any) -> Run:
    """A prompt of one token through one layer with all its experts picked, none there."""
    scenario = tiny(
        folder, model__n_layers=1, model__n_experts=experts, model__top_k=experts, workload__prompt_tokens=1,
        workload__output_tokens=1, expert_cache__capacity={"slots_per_layer": experts},
        record={"timeline": {"steps": [0, 0]}}, **changes,
    )  # fmt: skip
    return ms.simulate(scenario, check=True)


@pytest.mark.parametrize("width", [100, 1000, 5000])
@pytest.mark.parametrize(("method", "pieces", "calls"), [("loop", 1, 1), ("loop", 3, 3), ("batch", 3, 1)])
def test_unloaded_load(tmp_path: Path, width: int, method: str, pieces: int, calls: int) -> None:
    """One miss on an idle link: calls * t0 + bytes / bandwidth, and nothing of it is hidden."""
    run = one_token(
        tmp_path, 1, model__d_expert=width, hardware__links__host_to_device__method=method,
        hardware__runtime__pieces_per_expert=pieces,
    )  # fmt: skip
    size = 3 * 1000 * width * 2
    load = {"t0": calls * T0, "bytes / bandwidth": size * LINK}
    agrees("time on the link", run.result.counters["link_busy"], load)
    agrees("stall", int(run.result.layer_stall_ps.sum()), load)
    agrees(
        "time to first token", int(run.result.step_end[0]),
        {"attention": ATTENTION, "router": router(1), "control": CONTROL + ISSUE, **load, "expert": expert(width),
         "head": HEAD, "gap": GAP},
    )  # fmt: skip


@pytest.mark.parametrize("experts", [2, 8, 32, 128])
def test_saturated_link(tmp_path: Path, experts: int) -> None:
    """n loads one behind the other: what is left over is the layer's fixed part, so utilisation tends to 1."""
    run = one_token(tmp_path, experts)
    tau = T0 + EXPERT * LINK
    fixed = {"attention": ATTENTION, "router": router(experts), "control": CONTROL, "first issue": ISSUE,
             "last expert": expert(), "head": HEAD, "gap": GAP}  # fmt: skip
    agrees("n loads", int(run.result.step_end[0]), {**fixed, "n tau": experts * tau})
    busy = Fraction(experts * tau, experts * tau + sum(fixed.values()))
    used = Fraction(run.result.counters["link_busy"], run.result.elapsed_ps)
    agrees("utilisation", used, {"n tau / T": busy})
    assert run.summary["link_utilization"] == float(busy)
    assert 1 - used <= Fraction(40, 100) / experts


def test_saturated_throughput_is_the_links_bandwidth(tmp_path: Path) -> None:
    """Without t0, 128 loads: bytes over the time of the run are the link's 25 GB/s but for the fixed part."""
    run = one_token(tmp_path, 128, hardware__links__host_to_device__copy_overhead="0 s")
    link = [(b.start, b.end) for b in run.result.timeline if b.lane == "link"]
    span = max(e for _, e in link) - min(s for s, _ in link)
    agrees("B/s while the link works", Fraction(128 * EXPERT * 10**12, span), {"bandwidth": 25 * 10**9})
    agrees(
        "B/s over the whole run", Fraction(run.result.counters["bytes_loaded"] * 10**12, run.result.elapsed_ps),
        {"bandwidth": 25 * 10**9}, percent=0.3,
    )  # fmt: skip


ROWS = {"rows": [{"lanes": 1, "value": "0.5 GB/s"}, {"lanes": 2, "value": "1 GB/s"}, {"lanes": 4, "value": "2 GB/s"}]}
RATE = {1: 5 * 10**8, 2: 10**9, 3: 15 * 10**8, 4: 2 * 10**9, 8: 2 * 10**9}
"""B/s of all busy lanes together: linear between the rows, level beyond the last."""


def from_storage(folder: Path, experts: int, lanes: int, **changes: Any) -> Run:
    """Unified memory; an expert is six reads of 1 MB, all loads of the layer are issued in one tick."""
    return one_token(
        folder, experts, unified=True,
        hardware__storage__bandwidth=ROWS, hardware__storage__lanes=lanes, hardware__runtime__read_padding="0 B",
        hardware__runtime__issue="0 s", **changes,
    )  # fmt: skip


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 8])
def test_storage_lanes(tmp_path: Path, lanes: int) -> None:
    """48 reads in rounds of as many as there are lanes: bytes / bandwidth(lanes), and all lanes busy throughout."""
    run = from_storage(tmp_path, 8, lanes)
    reads = [(b.start, b.end) for b in run.result.timeline if b.lane.startswith("storage")]
    span = max(e for _, e in reads) - min(s for s, _ in reads)
    agrees(f"read time, {lanes} lanes", span, {"bytes / bandwidth": Fraction(8 * EXPERT * 10**12, RATE[lanes])})
    agrees("bandwidth", Fraction(8 * EXPERT * 10**12, span), {"curve at the lanes": RATE[lanes]})
    agrees("busy", run.result.counters["storage_busy"], {"lanes * span": lanes * span})
    assert run.summary["bytes_read"] == 8 * EXPERT


def test_a_last_round_with_lanes_to_spare(tmp_path: Path) -> None:
    """Six reads on four lanes: four together at 2 GB/s, then two at 1 GB/s."""
    run = from_storage(tmp_path, 1, 4)
    reads = [(b.start, b.end) for b in run.result.timeline if b.lane.startswith("storage")]
    agrees(
        "read time", max(e for _, e in reads) - min(s for s, _ in reads),
        {"4 MB at 2 GB/s": 2000 * US, "2 MB at 1 GB/s": 2000 * US},
    )  # fmt: skip


@pytest.mark.parametrize(("chunks", "after"), [(1, T0 + EXPERT * LINK), (6, 2 * US + 10**6 * LINK)])
def test_storage_then_link(tmp_path: Path, chunks: int, after: int) -> None:
    """Through DRAM. One chunk: the copy follows the last read. Six: all but the last chunk is hidden behind the reads
    (the last one resumes: 2 us)."""
    run = one_token(
        tmp_path, 1, placement__home="nvme", memory__dram_cache="1 GB", hardware__storage__bandwidth=ROWS,
        hardware__storage__lanes=1, hardware__runtime__read_padding="0 B",
        link={"discipline": "two_level", "chunks": chunks},
    )  # fmt: skip
    reads = {"6 reads": 6 * Fraction(10**6 * 10**12, RATE[1])}
    agrees("stall", int(run.result.layer_stall_ps.sum()), {**reads, "after the last read": after})
    parts = run.summary["breakdown_prefill_ms"]
    agrees("of it storage", round(parts["stall_storage"] * 10**9), reads)


@pytest.mark.parametrize("home", ["dram", "nvme", "unified"])
def test_bytes_are_conserved(tmp_path: Path, home: str) -> None:
    """Demand loads only: bytes = misses * expert, by the counter, by the steps and by the bars of the timeline."""
    changes: dict[str, Any] = {"workload__output_tokens": 12, "expert_cache__capacity": {"slots_per_layer": 3}}
    if home == "nvme":
        changes |= {"placement__home": "nvme", "memory__dram_cache": "30 MB"}
    scenario = tiny(tmp_path, unified=home == "unified", record={"timeline": {"steps": [0, 11]}}, **changes)
    run = ms.simulate(scenario, check=True)
    c, misses = run.result.counters, int(run.result.misses.sum())
    assert c["evictions"] > 0
    agrees("bytes loaded", c["bytes_loaded"], {"misses * bytes": misses * EXPERT})
    agrees("bytes by step", int(run.result.step_bytes.sum()), {"misses * bytes": misses * EXPERT})
    lane = "storage" if home == "unified" else "link"
    padded = EXPERT + 4096 if home == "unified" else EXPERT
    bars = sum(b.bytes for b in run.result.timeline if b.lane.startswith(lane))
    agrees(f"bytes of the bars of the {lane}", bars, {"misses * bytes": misses * padded})
    if home == "nvme":
        # some of what the device misses is still in DRAM: reads are whole experts, and fewer
        assert c["bytes_read"] % (EXPERT + 4096) == 0
        assert 0 < c["bytes_read"] < misses * (EXPERT + 4096)


GUESS = {"kind": "next_gate", "experts": 3, "recall": [0.7], "precision": [0.5]}


@pytest.mark.parametrize("discipline", ["fifo", "two_level"])
def test_bytes_are_conserved_with_prefetch(tmp_path: Path, discipline: str) -> None:
    """Bytes loaded = arrivals * expert + chunks of what was given up; the link's bars say the same. The slow sync gives
    prefetches time to be wrong in."""
    run = ms.simulate(
        tiny(
            tmp_path, workload__output_tokens=60, expert_cache__capacity={"slots_per_layer": 3},
            prefetch=GUESS, hardware__runtime__d2h_sync="400 us", record={"timeline": {"steps": [0, 59]}},
            link={"discipline": discipline, **({"chunks": 3} if discipline == "two_level" else {})},
        ), check=True,
    )  # fmt: skip
    c = run.result.counters
    assert c["prefetch_used"] > 0
    assert c["bytes_wasted"] > 0
    bars = sum(b.bytes for b in run.result.timeline if b.lane == "link")
    agrees("bytes of the link's bars", bars, {"bytes_loaded": c["bytes_loaded"]})
    partial = c["bytes_loaded"] - c["loads"] * EXPERT
    agrees("bytes loaded", c["bytes_loaded"], {"arrivals": c["loads"] * EXPERT, "chunks given up": partial})
    assert 0 <= partial <= c["bytes_wasted"]
    assert partial % (EXPERT // 3) == 0
    # lookups that were not hits arrive once each, prefetched experts that were hits too
    assert c["loads"] >= c["misses"]
