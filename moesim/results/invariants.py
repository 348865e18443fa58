"""The conservation laws of the execution model, checked on a finished run (`--check`, and every test run).

Laws by their numbers in the specification: I1 bytes, I2 residency, I3 routing, I4 weights before compute, I5 clocks,
I6 lookups, I8 rates, I11 breakdown. I4 sees what the timeline window recorded; I8 holds the run against the plan's own
durations. The other laws compare runs, so tests hold them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from moesim.errors import InvariantError
from moesim.plan.plan import Plan
from moesim.results.metrics import STALLS
from moesim.results.perfetto import BRINGS
from moesim.results.result import BREAKDOWN, Result

__all__ = ["check"]

_COLUMN = {name: i for i, name in enumerate(BREAKDOWN)}


def _broken(law: str, text: str) -> NoReturn:
    raise InvariantError(f"{law}: {text}")


def _equal(law: str, what: str, got: Any, want: Any) -> None:
    """Arrays or numbers that must be equal; the message has the first place where they are not."""
    left, right = np.asarray(got), np.asarray(want)
    if left.shape != right.shape:
        _broken(law, f"{what}: shape {left.shape}, not {right.shape}")
    wrong = np.argwhere(left != right)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        place = f" at {at}" if at else ""
        _broken(law, f"{what}{place}: {left[at]}, not {right[at]}")


def _at_least(law: str, what: str, got: Any, floor: Any) -> None:
    left, right = np.broadcast_arrays(np.asarray(got), np.asarray(floor))
    wrong = np.argwhere(left < right)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        place = f" at {at}" if at else ""
        _broken(law, f"{what}{place}: {left[at]} is less than {right[at]}")


def _sets(plan: Plan) -> np.ndarray[Any, Any]:
    """[S, L] distinct experts of each (step, layer)."""
    return np.diff(plan.set_ptr).reshape(plan.n_steps, plan.n_layers)


def bytes_moved(plan: Plan, result: Result) -> None:
    """I1: bytes on the way in are bytes of chunks that completed, wasted included."""
    c = result.counters
    arrived = int(result.step_bytes.sum())
    _at_least("I1", "bytes_loaded, against the bytes of experts that arrived", c["bytes_loaded"], arrived)
    _at_least("I1", "bytes_loaded, against bytes_wasted", c["bytes_loaded"], c["bytes_wasted"])
    sizes = set(plan.expert_bytes[plan.is_moe].tolist())
    if len(sizes) == 1:
        _equal("I1", "bytes of experts that arrived", arrived, c["loads"] * sizes.pop())
    if plan.prefetch.kind == "none":
        missed = int(result.misses.sum(axis=0) @ plan.expert_bytes)
        _equal("I1", "bytes_loaded without prefetch", c["bytes_loaded"], missed)
        _equal("I1", "loads without prefetch", c["loads"], c["misses"])
        _equal("I1", "late lookups without prefetch", c["late"], 0)
        _equal("I1", "bytes_wasted without prefetch", c["bytes_wasted"], 0)
    else:
        _at_least("I1", "prefetches, against those used", c["prefetches"], c["prefetch_used"])
    if "storage" not in plan.path:
        _equal("I1", "bytes_read without storage", c["bytes_read"], 0)
    elif plan.path == "storage":
        _at_least("I1", "bytes_read, against bytes_loaded", c["bytes_read"], c["bytes_loaded"])


def residency(plan: Plan, result: Result) -> None:
    """I2: residency <= capacity, plus the overshoot that `after_layer` declares."""
    over = result.counters["overshoot_peak"]
    if plan.evict == "on_claim":
        _equal("I2", "overshoot under on_claim", over, 0)
    pinned = plan.pinned.sum(axis=1)
    _at_least("I2", "experts resident, against the pinned ones", result.residency, np.where(plan.is_moe, pinned, 0))
    held = (result.residency.astype(np.int64) - pinned) * plan.expert_bytes
    for cache, capacity in enumerate(plan.cache_capacity.tolist()):
        used = held[:, plan.cache_of_layer == cache].sum(axis=1)
        _at_least("I2", f"capacity and overshoot of cache {cache}, against its content by step", capacity + over, used)


def routing(plan: Plan) -> None:
    """I3: every token that reaches a layer is routed to exactly k distinct experts there."""
    picks = np.diff(plan.pick_ptr).reshape(plan.n_steps, plan.n_layers)
    k = plan.top_k
    _equal("I3", "picks left over after whole tokens", np.where(k > 0, picks % np.maximum(k, 1), picks), picks * 0)
    _at_least("I3", "picks a step may make", plan.step_tokens[:, None] * k[None, :], picks)
    pairs = np.concatenate([[0], np.cumsum(plan.set_pairs)])
    _equal("I3", "token-expert pairs of each set", np.diff(pairs[plan.set_ptr]), np.diff(plan.pick_ptr))
    for layer in np.flatnonzero(k > 0).tolist():
        for step in range(plan.n_steps):
            begin, end = plan.pick_ptr[step * plan.n_layers + layer : step * plan.n_layers + layer + 2]
            rows = np.sort(plan.picks[begin:end].reshape(-1, int(k[layer])), axis=1)
            if (rows[:, 1:] == rows[:, :-1]).any():
                _broken("I3", f"a token of step {step} picks one expert of layer {layer} twice")


def order(plan: Plan, result: Result) -> None:
    """I4: within the timeline window nothing is computed before its weights are there, and no lane does two things."""
    arrived: dict[tuple[int, int], int] = {}
    for item in result.timeline:
        if item.name in BRINGS:
            for expert in item.experts:
                key = (item.transfer, item.layer * plan.n_experts + expert)
                arrived[key] = max(arrived.get(key, 0), item.end)
    # (expert id, step that demanded it) -> end of its copy; a prefetch names the step it is for
    need = {}
    for item in result.timeline:
        if item.name == "copy":
            for expert in item.experts:
                key = (item.transfer, item.layer * plan.n_experts + expert)
                need[item.step, key[1]] = arrived[key]
    for item in result.timeline:
        if item.lane == "stream" and item.name == "experts":
            for expert in item.experts:
                there = need.get((item.step, item.layer * plan.n_experts + expert))
                if there is not None and there > item.start:
                    place = f"expert {expert} of layer {item.layer}, step {item.step}"
                    _broken("I4", f"{place} is computed at {item.start}, before its weights are there at {there}")
    lanes: dict[str, list[tuple[int, int]]] = {}
    for item in result.timeline:
        lanes.setdefault(item.lane, []).append((item.start, item.end))
    for lane, taken in lanes.items():
        for (_, end), (start, _) in pairwise(sorted(t for t in taken if t[1] > t[0])):
            if start < end:
                _broken("I5", f"lane {lane} is taken at {start} while in use until {end}")


def clocks(plan: Plan, result: Result) -> None:
    """I5: clocks never run backwards; no server is busy longer than it existed."""
    start, end = result.step_start, result.step_end
    _equal("I5", "start of each step, against the end of the one before", start[1:], end[:-1])
    _at_least("I5", "ends of layers, against the layer before", np.diff(result.layer_end, axis=1), 0)
    if plan.n_layers:
        _at_least("I5", "first layer's end, against its step's start", result.layer_end[:, 0], start)
        _at_least("I5", "step end, against its last layer's end", end, result.layer_end[:, -1])
    lanes = plan.storage.lanes if plan.storage is not None else 0
    for name, servers in (("stream_busy", 1), ("link_busy", 1), ("storage_busy", lanes)):
        _at_least("I5", f"elapsed time of {name}", servers * result.elapsed_ps, result.counters[name])
        _at_least("I5", name, result.counters[name], 0)


def lookups(plan: Plan, result: Result) -> None:
    """I6: hits + late + misses = lookups, in every set and in all."""
    _equal("I6", "hits + late + misses of (step, layer)", result.hits + result.late + result.misses, _sets(plan))
    for name in ("hits", "late", "misses"):
        _equal("I6", name, result.counters[name], int(getattr(result, name).sum()))
    _equal("I6", "lookups", result.counters["lookups"], len(plan.set_expert))


def rates(plan: Plan, result: Result) -> None:
    """I8: nothing is faster than the plan's own durations."""
    took = result.breakdown_ps
    looked = plan.is_moe[None, :] & (_sets(plan) > 0)
    exact = {
        "attention": plan.attention_ps.sum(axis=1),
        "router": np.where(looked, plan.router_ps, 0).sum(axis=1),
        "shared": np.where(looked, plan.shared_ps, 0).sum(axis=1),
        "dense": np.where(plan.is_moe[None, :], 0, plan.dense_ps).sum(axis=1),
        "head": plan.head_ps,
        "host_gap": plan.host_gap_ps,
    }
    for name, want in exact.items():
        _equal("I8", f"{name} of each step, against the plan", took[:, _COLUMN[name]], want)
    path = np.where(looked, plan.d2h_sync_ps + plan.lookup_ps, 0).sum(axis=1)
    _at_least("I8", "control of each step, against its plan", took[:, _COLUMN["control"]], path)
    quickest = [t for b, t in zip(plan.expert_bytes, plan.link.transfer_ps, strict=True) if b] if plan.link else []
    if "link" in plan.path and quickest:
        floor = result.counters["loads"] * min(quickest)
        _at_least("I8", "link_busy, against its loads' durations", result.counters["link_busy"], floor)


def breakdown(plan: Plan, result: Result) -> None:
    """I11: the breakdown sums to the step, its stalls to the waits, to the tick."""
    took = result.breakdown_ps
    _at_least("I11", "classes of each step", took, 0)
    _equal("I11", "sum of the classes of each step", took.sum(axis=1), result.step_end - result.step_start)
    stalls = took[:, [_COLUMN[name] for name in STALLS]].sum(axis=1)
    _equal("I11", "stalls of each step, against its layers' waits", stalls, result.layer_stall_ps.sum(axis=1))
    waited = np.zeros_like(result.layer_stall_ps)
    for wait in result.waits:
        waited[wait.step, wait.layer] += wait.end - wait.start
    _equal("I11", "recorded waits of (step, layer)", waited, result.layer_stall_ps)
    ran = took[:, [_COLUMN[n] for n in ("attention", "router", "experts", "shared", "dense", "head")]].sum()
    # management runs on the stream or on the host, as the plan says; a trim's always on the stream
    most = ran + took[:, _COLUMN["management"]].sum()
    least, busy = ran if plan.overhead_on == "host" else most, result.counters["stream_busy"]
    _at_least("I11", "stream_busy, against its classes", busy, least)
    _at_least("I11", "the stream's classes, against stream_busy", most, busy)


def check(plan: Plan, result: Result) -> None:
    """Hold a run against every law above. Raises InvariantError that starts with the number of the broken law."""
    lookups(plan, result)
    clocks(plan, result)
    breakdown(plan, result)
    bytes_moved(plan, result)
    residency(plan, result)
    routing(plan)
    rates(plan, result)
    order(plan, result)
