"""Conservation laws I1 to I6 and I11 of the model's brief, checked from the plan, the arrays and the timeline alone.

Written apart from `moesim.results.invariants`, which users run: it reads the raw picks, not the prepared sets, and the
timeline where the plan keeps all of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result, Slice

__all__ = ["check"]


def _set(plan: Plan, step: int, layer: int) -> list[int]:
    i = step * plan.n_layers + layer
    return list(dict.fromkeys(plan.picks[plan.pick_ptr[i] : plan.pick_ptr[i + 1]].tolist()))


def _whole(plan: Plan) -> bool:
    return (
        plan.timeline_steps is not None and plan.timeline_steps[0] <= 0 and plan.timeline_steps[1] >= plan.n_steps - 1
    )


def _bytes(plan: Plan, result: Result) -> None:
    """I1: bytes loaded are those of arrivals plus those of transfers that never arrived, which are wasted."""
    c = result.counters
    arrived = int(result.step_bytes.sum())
    assert arrived <= c["bytes_loaded"] <= arrived + c["bytes_wasted"], "I1: bytes of arrivals"
    assert c["bytes_wasted"] <= c["bytes_loaded"], "I1: waste"
    if _whole(plan) and plan.path != "storage":
        assert sum(x.bytes for x in result.timeline if x.lane == "link") == c["bytes_loaded"], "I1: bytes on the link"
    if _whole(plan):
        assert sum(x.bytes for x in result.timeline if x.lane.startswith("storage")) == c["bytes_read"], "I1: reads"
    assert c["prefetch_used"] <= c["prefetches"], "I1: prefetches used"
    assert c["prefetch_cancelled"] + c["prefetch_used"] <= c["prefetches"], "I1: cancelled ones are unused"


def _residency(plan: Plan, result: Result) -> None:
    """I2: residents fit into their cache at the end of each step, but for an overshoot that is declared."""
    outside = plan.pinned.sum(axis=1) * plan.is_moe
    inside = result.residency - outside
    assert (inside >= 0).all(), "I2: pinned experts are resident"
    spare = result.counters["overshoot_peak"] if plan.evict == "after_layer" else 0
    assert plan.evict == "after_layer" or not result.counters["overshoot_peak"], "I2: no overshoot on claim"
    for c, capacity in enumerate(plan.cache_capacity.tolist()):
        layers = plan.cache_of_layer == c
        used = (inside * plan.expert_bytes)[:, layers].sum(axis=1)
        assert (used <= capacity + spare).all(), f"I2: cache {c}"


def _routing(plan: Plan) -> None:
    """I3: each token has exactly k distinct experts."""
    for i in range(plan.n_steps * plan.n_layers):
        picks, k = plan.picks[plan.pick_ptr[i] : plan.pick_ptr[i + 1]].tolist(), int(plan.top_k[i % plan.n_layers])
        assert (len(picks) % k == 0) if k else not picks, "I3: whole tokens"
        tokens = [picks[a : a + k] for a in range(0, len(picks), k or 1)]
        assert len(tokens) <= plan.step_tokens[i // plan.n_layers], "I3: no more tokens than the step has"
        assert all(len(set(token)) == k for token in tokens), "I3: distinct experts"


def _loaded_at(plan: Plan, result: Result) -> dict[tuple[int, int], int]:
    """(layer, expert) -> first tick at which all its bytes had been moved by one transfer."""
    parts: dict[int, list[Slice]] = defaultdict(list)
    for x in result.timeline:
        if x.lane == "link" if plan.path != "storage" else x.lane.startswith("storage"):
            parts[x.transfer].append(x)
    first: dict[tuple[int, int], int] = {}
    for slices in parts.values():
        layer, expert = slices[0].layer, slices[0].experts[0]
        if plan.path == "storage":
            assert plan.storage is not None
            enough = len(slices) == len(plan.storage.read_sizes[layer])
        else:
            enough = sum(x.bytes for x in slices) >= plan.expert_bytes[layer]
        if enough:
            at = max(x.end for x in slices)
            first[layer, expert] = min(at, first.get((layer, expert), at))
    return first


def _weights_there(plan: Plan, result: Result) -> None:
    """I4: nothing computes before its weights are there, and every expert of a set computes once."""
    loaded = _loaded_at(plan, result)
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for x in result.timeline:
        if x.lane != "stream" or x.name != "experts":
            continue
        seen[x.step, x.layer].update(x.experts)
        for e in x.experts:
            if plan.pinned[x.layer, e] or x.layer * plan.n_experts + e in plan.initial:
                continue
            assert loaded.get((x.layer, e), x.start + 1) <= x.start, f"I4: step {x.step} layer {x.layer} expert {e}"
    for (step, layer), counts in seen.items():
        assert max(counts.values()) == 1, "I4: once each"
        assert set(counts) <= set(_set(plan, step, layer)), "I4: only the set"
    if all((t[1:, 1:][np.tril_indices_from(t[1:, 1:])] > 0).all() for t in plan.group_ps):
        for step in range(plan.n_steps):
            for layer in range(plan.n_layers):
                assert set(seen[step, layer]) == set(_set(plan, step, layer)), "I4: the whole set"


def _clocks(plan: Plan, result: Result) -> None:
    """I5: clocks never run backwards, and no server is busier than the run is long or serves two at once."""
    start, end, c = result.step_start.tolist(), result.step_end.tolist(), result.counters
    if not start:
        return
    assert start[0] == 0 and start[1:] == end[:-1], "I5: steps follow on one another"
    for s in range(plan.n_steps):
        ticks = [start[s], *result.layer_end[s].tolist(), end[s]]
        assert all(a <= b for a, b in pairwise(ticks)), f"I5: layers of step {s}"
    lanes = plan.storage.lanes if plan.storage else 0
    for name, servers in (("stream_busy", 1), ("link_busy", 1), ("storage_busy", lanes)):
        assert 0 <= c[name] <= servers * result.elapsed_ps, f"I5: {name}"
    by_lane: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for x in result.timeline:
        by_lane[x.lane].append((x.start, x.end))
    for lane, bars in by_lane.items():
        bars.sort()
        assert all(b <= d for (_, b), (d, _) in pairwise(bars)), f"I5: {lane} serves one at a time"
        assert lane == "stream" or bars[-1][1] <= end[-1], f"I5: {lane} ends with the run"
    if _whole(plan):
        # control and host-side management are on the stream's lane but no work of it; waits and gaps neither
        assert sum(b - a for a, b in by_lane["link"]) == c["link_busy"], "I5: link_busy"


def _lookups(plan: Plan, result: Result) -> None:
    """I6: hits + late + misses = lookups, for each layer of each step and in all."""
    seen = result.hits + result.late + result.misses
    want = [[len(_set(plan, s, n)) for n in range(plan.n_layers)] for s in range(plan.n_steps)]
    assert seen.tolist() == want, "I6: lookups of each layer"
    c = result.counters
    assert c["lookups"] == sum(map(sum, want)) == c["hits"] + c["late"] + c["misses"], "I6: lookups"
    for name in ("hits", "late", "misses"):
        assert c[name] == getattr(result, name).sum(), f"I6: {name}"


def _breakdown(plan: Plan, result: Result) -> None:
    """I11: the breakdown sums to the step; stalls are the waits; stream operations are the stream's busy time."""
    b = result.breakdown_ps
    assert (b >= 0).all()
    assert (b.sum(axis=1) == result.step_end - result.step_start).all(), "I11: sums to the step"
    stalls = [BREAKDOWN.index(n) for n in ("stall_link", "stall_storage", "stall_cache", "stall_cpu")]
    assert (b[:, stalls].sum(axis=1) == result.layer_stall_ps.sum(axis=1)).all(), "I11: stalls"
    waited = np.zeros_like(result.layer_stall_ps)
    for w in result.waits:
        assert w.start < w.end
        waited[w.step, w.layer] += w.end - w.start
    assert (waited == result.layer_stall_ps).all(), "I11: waits"
    total = dict(zip(BREAKDOWN, b.sum(axis=0).tolist(), strict=True))
    for name, ticks in (
        ("attention", plan.attention_ps.sum()),
        ("dense", plan.dense_ps[:, ~plan.is_moe].sum()),
        ("head", plan.head_ps.sum()),
        ("host_gap", plan.host_gap_ps.sum()),
        ("shared", sum(plan.shared_ps[s, n] for s in range(plan.n_steps) for n in range(plan.n_layers)
                       if plan.is_moe[n] and _set(plan, s, n))),
    ):  # fmt: skip
        assert total[name] == ticks, f"I11: {name}"
    work = sum(total[n] for n in ("attention", "router", "experts", "shared", "dense", "head"))
    busy = result.counters["stream_busy"]
    assert work <= busy <= work + total["management"], "I11: stream_busy"
    assert plan.overhead_on == "host" or busy == work + total["management"], "I11: management is on the stream"


def check(plan: Plan, result: Result) -> None:
    """Raise AssertionError, naming the law, if the result breaks one."""
    _bytes(plan, result)
    _residency(plan, result)
    _routing(plan)
    if _whole(plan):
        _weights_there(plan, result)
    _clocks(plan, result)
    _lookups(plan, result)
    _breakdown(plan, result)
