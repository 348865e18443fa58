"""A toy run with plausible numbers, for tests of results and pages: demand loads, LRU per layer, one FIFO link.

`toy()` makes a plan with `small_plan` and runs it in plain Python: hits in one group, then, when all copies are there,
the rest in another. It is no oracle: it knows a corner of the specification only, but obeys every conservation law.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from moesim.plan.plan import Plan
from moesim.results.info import ScenarioInfo
from moesim.results.result import BREAKDOWN, COUNTERS, Result, Slice, Wait
from tests.support.plans import small_plan

US = 10**6
MB = 10**6


def toy_plan(*, layers: int = 32, decode: int = 60, experts: int = 8, slots: int = 5, seed: int = 3) -> Plan:
    """Two sequences of one prefill chunk (16 tokens) and `decode` steps each; top-2 of `experts`, skewed."""
    rng = random.Random(seed)
    popularity = [1.0 / (rank + 1) ** 0.8 for rank in range(experts)]
    orders = [rng.sample(range(experts), experts) for _ in range(layers)]
    before: list[list[int]] = [[] for _ in range(layers)]

    def token(layer: int, prompt: bool) -> list[int]:
        chosen: list[int] = [e for e in before[layer] if rng.random() < 0.35]
        while len(chosen) < 2:
            e = orders[layer][rng.choices(range(experts), popularity)[0]]
            # the toy has no waves: a prompt keeps to as many experts as fit
            if e not in chosen and (not prompt or e in orders[layer][:slots]):
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
            sets.append([[token(n, step == 0) for _ in range(width)] for n in range(layers)])
            prefill.append(step == 0)
            batches.append(sequence)
            tokens.append(width)
    first = decode // 2
    return small_plan(
        sets, n_experts=experts, expert_bytes=88 * MB, attention=180 * US, router=8 * US, d2h=11 * US, lookup=6 * US,
        issue=2 * US, head=260 * US, gap=90 * US, slots=slots, t0=10 * US, D=3500 * US, grouping="hits_then_rest",
        group=lambda pairs, distinct: (30 + 95 * distinct + pairs) * US, prefill=prefill, batches=batches,
        tokens=tokens, timeline_steps=(first, first + 1), seed=seed,
    )  # fmt: skip


def run_toy(plan: Plan) -> Result:
    """Run it (path link, fifo, no prefetch, per-layer LRU, grouping hits_then_rest, no set larger than its cache)."""
    assert plan.link is not None
    steps, layers = plan.n_steps, plan.n_layers
    took = np.zeros((steps, len(BREAKDOWN)), dtype=np.int64)
    col = {name: i for i, name in enumerate(BREAKDOWN)}
    shape = (steps, layers)
    hits, misses, stall, layer_end = (np.zeros(shape, dtype=np.int64) for _ in range(4))
    residency, step_bytes = np.zeros(shape, dtype=np.int32), np.zeros(steps, dtype=np.int64)
    start, end = np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.int64)
    counters = dict.fromkeys(COUNTERS, 0)
    waits: list[Wait] = []
    timeline: list[Slice] = []
    caches: list[dict[int, None]] = [{} for _ in range(layers)]
    lo, hi = plan.timeline_steps or (0, -1)
    now = link_free = transfer = 0
    for s in range(steps):
        start[s] = now

        def on(
            lane: str, name: str, a: int, b: int, layer: int, experts: Any = (), moved: tuple[int, int] = (-1, 0)
        ) -> None:
            if lo <= s <= hi and b > a:  # noqa: B023
                timeline.append(Slice(lane, name, a, b, s, layer, tuple(experts), *moved))  # noqa: B023

        def run(name: str, ticks: int, layer: int, experts: Any = (), where: str = "stream") -> None:
            nonlocal now
            on(where, name, now, now + ticks, layer, experts)
            took[s, col[name]] += ticks  # noqa: B023
            now += ticks
            if name in ("attention", "router", "experts", "head"):
                counters["stream_busy"] += ticks

        for n in range(layers):
            run("attention", int(plan.attention_ps[s, n]), n)
            run("router", int(plan.router_ps[s, n]), n)
            a, b = plan.set_ptr[s * layers + n : s * layers + n + 2]
            wanted = plan.set_expert[a:b].tolist()
            pairs = dict(zip(wanted, plan.set_pairs[a:b].tolist(), strict=True))
            cache = caches[n]
            there = [e for e in wanted if e in cache]
            missing = [e for e in wanted if e not in cache]
            hits[s, n], misses[s, n] = len(there), len(missing)
            for e in wanted:
                cache.pop(e, None)
                cache[e] = None
            most = int(plan.cache_capacity[plan.cache_of_layer[n]] // plan.expert_bytes[n])
            assert len(wanted) <= most, "the toy has no waves"
            while len(cache) > most:
                del cache[next(iter(cache))]
                counters["evictions"] += 1
            lookup = now + int(plan.d2h_sync_ps[n] + plan.lookup_ps[n])
            issue, arrives, numbers = int(plan.issue_ps[n]), {}, {}
            for j, e in enumerate(missing, 1):
                begin = max(link_free, lookup + j * issue)
                link_free = begin + plan.link.copy_overhead_ps + plan.link.transfer_ps[n]
                on("link", "copy", begin, link_free, n, (e,), (transfer, int(plan.expert_bytes[n])))
                counters["link_busy"] += link_free - begin
                step_bytes[s] += plan.expert_bytes[n]
                arrives[e], numbers[e] = link_free, transfer
                transfer += 1
            run("control", lookup - now + len(missing) * issue, n, missing)
            table = plan.group_ps[plan.group_class[n]]
            if there:
                run("experts", int(table[sum(pairs[e] for e in there), len(there)]), n, there)
            if missing:
                last = max(missing, key=lambda e: arrives[e])
                if arrives[last] > now:
                    waits.append(Wait(s, n, now, arrives[last], last, numbers[last]))
                    stall[s, n] += arrives[last] - now
                    on("stream", "wait", now, arrives[last], n, (last,), (numbers[last], 0))
                    took[s, col["stall_link"]] += arrives[last] - now
                    now = arrives[last]
                run("experts", int(table[sum(pairs[e] for e in missing), len(missing)]), n, missing)
            layer_end[s, n] = now
        run("head", int(plan.head_ps[s]), -1)
        run("host_gap", int(plan.host_gap_ps[s]), -1)
        residency[s] = [len(c) for c in caches]
        end[s] = now
    counters |= {"hits": int(hits.sum()), "misses": int(misses.sum()), "lookups": int((hits + misses).sum())}
    counters |= {"loads": int(misses.sum()), "bytes_loaded": int(step_bytes.sum())}
    return Result(
        engine="toy", step_start=start, step_end=end, layer_end=layer_end, breakdown_ps=took, hits=hits,
        late=np.zeros(shape, dtype=np.int64), misses=misses, layer_stall_ps=stall, step_bytes=step_bytes,
        residency=residency, counters=counters, waits=waits, timeline=timeline,
    )  # fmt: skip


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
