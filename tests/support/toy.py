"""A toy scenario with plausible numbers, for tests of results and pages."""

from __future__ import annotations

import random
from typing import Any

from moesim.plan.plan import Plan
from moesim.results.info import ScenarioInfo
from tests.support.plans import small_plan

US = 10**6
MB = 10**6


def toy_plan(
    *, layers: int = 32, decode: int = 60, experts: int = 8, slots: int = 5, seed: int = 3, **more: Any
) -> Plan:
    """Two sequences of one prefill chunk (16 tokens) and `decode` steps each; top-2 of `experts`, skewed.

    Demand loads over a FIFO link, unless `more`, keywords of `small_plan`, says otherwise.
    """
    rng = random.Random(seed)
    popularity = [1.0 / (rank + 1) ** 0.8 for rank in range(experts)]
    orders = [rng.sample(range(experts), experts) for _ in range(layers)]
    moe = more.get("moe", [True] * layers)
    before: list[list[int]] = [[] for _ in range(layers)]

    def token(layer: int) -> list[int]:
        chosen: list[int] = [e for e in before[layer] if rng.random() < 0.35]
        while len(chosen) < 2:
            e = orders[layer][rng.choices(range(experts), popularity)[0]]
            if e not in chosen:
                chosen.append(e)
        before[layer] = chosen
        return list(chosen)

    sets: list[list[Any]] = []
    prefill, batches, tokens = [], [], []
    for sequence in range(2):
        for step in range(decode + 1):
            width = 16 if step == 0 else 1
            if step == 0:
                before = [[] for _ in range(layers)]
            sets.append([[token(n) for _ in range(width)] if moe[n] else [] for n in range(layers)])
            prefill.append(step == 0)
            batches.append(sequence)
            tokens.append(width)
    given: dict[str, Any] = {
        "n_experts": experts, "expert_bytes": 88 * MB, "attention": 180 * US, "router": 8 * US, "d2h": 11 * US,
        "lookup": 6 * US, "issue": 2 * US, "head": 260 * US, "gap": 90 * US, "slots": slots, "t0": 10 * US,
        "D": 3500 * US, "group": lambda pairs, distinct: (30 + 95 * distinct + pairs) * US, "prefill": prefill,
        "batches": batches, "tokens": tokens, "timeline_steps": (decode // 2, decode // 2 + 1), "seed": seed,
    }  # fmt: skip
    return small_plan(sets, **given | more)


def rich_plan(**more: Any) -> Plan:
    """Much at once: storage below DRAM, a two-level link in chunks, prefetch into staging, a dense layer."""
    options: dict[str, Any] = {
        "path": "storage+link", "dram_capacity": 20 * 88 * MB, "lanes": 4, "read_sizes": [22 * MB] * 4,
        "read_ps": lambda size, busy: (3000 + 900 * busy) * US, "discipline": "two_level", "chunks": 3,
        "wakeup": 10 * US, "prefetch": "next_gate", "into": "staging",
        "prefetch_params": {"experts": 2, "recall": (0.8,), "precision": (0.7,)}, "evict_overhead": 20 * US,
        "load_overhead": 40 * US, "shared": 60 * US, "moe": [False] + [True] * 7, "dense": 150 * US,
    }  # fmt: skip
    return toy_plan(layers=8, decode=12, slots=4, **options | more)


def toy_info() -> ScenarioInfo:
    """The scenario such a run might have had."""
    gib = 2**30
    return ScenarioInfo(
        name="toy", title="Mixtral-like toy on a 24 GB card", hash="0" * 64, seed=3,
        routing="profile mixtral-8x7b, fitted to 1,200 recorded tokens",
        machine="RTX 4090 desktop", model="Mixtral-8x7B, int4-g128 experts", link="PCIe link",
        resolved={
            "moesim": 1, "title": "Mixtral-like toy", "seed": 3,
            "hardware": {
                "accelerator": {"memory": {"bandwidth": "1008 GB/s", "capacity": "24 GB"}},
                "links": {"host_to_device": {"bandwidth": "25.1 GB/s", "copy_overhead": "10 us"}},
            },
            "routing": {"kind": "trace", "path": "/home/somebody/traces/toy.parquet"},
            "expert_cache": {"capacity": "auto", "scope": "layer", "eviction": {"kind": "lru"}},
            "prefetch": {"kind": "none"}, "workload": {"layers": [0, 1, 2], "note": "<script>alert('x')</script>"},
        },
        sources={
            "hardware.accelerator.memory.bandwidth": {
                "kind": "datasheet", "title": "NVIDIA Ada GPU architecture", "url": "https://www.nvidia.com/ada.pdf",
            },
            "hardware.links.host_to_device.bandwidth": {"kind": "measured", "title": "own copy benchmark", "url": ""},
            "hardware.links.host_to_device.copy_overhead": {"kind": "assumed", "title": "typical of cudaMemcpyAsync"},
        },
        notes=("The last layer's cache is 3 MB smaller than the others: capacity does not divide by 32.",),
        fits={
            "accelerator memory": {
                "capacity": 24 * gib,
                "parts": {"reserve": gib, "resident weights": 3 * gib, "KV cache": gib // 2, "expert cache": 19 * gib},
            },
            "host memory": {"capacity": 64 * gib, "parts": {"experts": 23 * gib}},
        },
        inputs={"toy.parquet": "a" * 64}, streams=("eviction",),
    )  # fmt: skip
