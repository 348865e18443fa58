"""Tiny plans by hand: `small_plan(sets=..., ...)` with the numbers of the micro-scenarios as defaults.

Derived fields (distinct experts, pairs, weights, pointers, top-k) are made here in plain Python, on purpose not with
`moesim.routing`, so that tests of engines do not lean on the code that prepares real plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from moesim.plan.plan import LinkPlan, Plan, PolicyPlan, StoragePlan

__all__ = ["small_plan"]

Group = Callable[[int, int], int]


def _tokens(layer: Sequence[Any]) -> list[list[Any]]:
    """A layer's picks as a list over tokens; a flat list of numbers is one token."""
    if not layer:
        return []
    if all(isinstance(x, Sequence) for x in layer):
        return [list(x) for x in layer]
    return [list(layer)]


def _flow(steps: Sequence[Sequence[Any]], weights: Sequence[Sequence[Any]] | None) -> dict[str, Any]:
    """picks, weights, pointers and the distinct sets, by first appearance."""
    picks: list[int] = []
    flat: list[int] = []
    pick_ptr, set_ptr = [0], [0]
    expert: list[int] = []
    touch: list[int] = []
    pairs: list[int] = []
    best: list[int] = []
    for s, step in enumerate(steps):
        for n, layer in enumerate(step):
            tokens = _tokens(layer)
            given = _tokens(weights[s][n]) if weights is not None else [[0] * len(t) for t in tokens]
            seen: dict[int, list[int]] = {}
            for token, ws in zip(tokens, given, strict=True):
                assert len(set(token)) == len(token), "a token picks distinct experts"
                for e, w in zip(token, ws, strict=True):
                    picks.append(e)
                    flat.append(w)
                    count = seen.setdefault(e, [0, 0])
                    count[0] += 1
                    count[1] = max(count[1], w)
            pick_ptr.append(len(picks))
            expert += list(seen)
            # each expert's last pick, in the order of those
            touch += reversed(list(dict.fromkeys(e for token in reversed(tokens) for e in reversed(token))))
            pairs += [c[0] for c in seen.values()]
            best += [c[1] for c in seen.values()]
            set_ptr.append(len(expert))
    return {
        "picks": np.array(picks, dtype=np.int32),
        "weights": np.array(flat if weights is not None else [], dtype=np.int64),
        "pick_ptr": np.array(pick_ptr, dtype=np.int64),
        "set_expert": np.array(expert, dtype=np.int32),
        "set_touch": np.array(touch, dtype=np.int32),
        "set_pairs": np.array(pairs, dtype=np.int32),
        "set_weight": np.array(best, dtype=np.int64),
        "set_ptr": np.array(set_ptr, dtype=np.int64),
    }


def _table(group: Group, pairs: int, distinct: int) -> np.ndarray:
    table = np.zeros((pairs + 1, distinct + 1), dtype=np.int64)
    for p in range(1, pairs + 1):
        for d in range(1, min(p, distinct) + 1):
            table[p, d] = group(p, d)
    return table


def _grid(value: Any, *shape: int) -> np.ndarray:
    """Scalar, last axis or all axes to a full int64 array."""
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.int64), shape))


def _steps(prefill: Sequence[bool], batch: Sequence[int], tokens: Sequence[int]) -> dict[str, Any]:
    """One sequence per batch in prefill (the last chunk makes the first token); decode steps make one per token."""
    count = len(tokens)
    generated, first, arrival = [], [], []
    for s in range(count):
        last = prefill[s] and (s + 1 == count or batch[s + 1] != batch[s] or not prefill[s + 1])
        generated.append(int(last) if prefill[s] else tokens[s])
        first.append(int(last))
        arrival.append(min(i for i in range(count) if batch[i] == batch[s]))
    return {
        "step_batch": np.array(batch, dtype=np.int64),
        "step_prefill": np.array(prefill, dtype=np.bool_),
        "step_tokens": np.array(tokens, dtype=np.int64),
        "step_generated": np.array(generated, dtype=np.int64),
        "step_first": np.array(first, dtype=np.int64),
        "step_arrival": np.array(arrival, dtype=np.int64),
    }


def _storage(
    lanes: int, read_sizes: Sequence[Any], read_ends: Any, read_ps: Any, expert_bytes: np.ndarray
) -> StoragePlan:
    """Reads per layer; ends are running sums of the sizes unless given (padding) and never pass the expert's bytes."""
    layers = len(expert_bytes)
    per_layer = [tuple(r) for r in read_sizes] if isinstance(read_sizes[0], Sequence) else [tuple(read_sizes)] * layers
    if read_ends is None:
        ends = [
            tuple(min(int(sum(sizes[: i + 1])), int(expert_bytes[n])) for i in range(len(sizes)))
            for n, sizes in enumerate(per_layer)
        ]
    else:
        ends = [tuple(r) for r in read_ends] if isinstance(read_ends[0], Sequence) else [tuple(read_ends)] * layers
    sizes_used = sorted({size for sizes in per_layer for size in sizes})
    if callable(read_ps):
        table = {size: (0, *(int(read_ps(size, busy)) for busy in range(1, lanes + 1))) for size in sizes_used}
    elif isinstance(read_ps, Mapping):
        table = {int(size): tuple(row) for size, row in read_ps.items()}
    else:
        table = {size: (0, *([int(read_ps)] * lanes)) for size in sizes_used}
    return StoragePlan(lanes=lanes, read_sizes=tuple(per_layer), read_ends=tuple(ends), read_ps=table)


def _prefetch(
    prefetch: str | PolicyPlan, params: Mapping[str, Any] | None, script: Mapping[tuple[int, int], Any] | None
) -> PolicyPlan:
    if script is not None:
        from tests.support.scripted import ScriptedPrefetch

        return PolicyPlan(kind="script", params={"script": dict(script)}, make=ScriptedPrefetch)
    if isinstance(prefetch, PolicyPlan):
        return prefetch
    return PolicyPlan(kind=prefetch, params=dict(params or {}))


def small_plan(
    sets: Sequence[Sequence[Any]],
    *,
    weights: Sequence[Sequence[Any]] | None = None,
    moe: Sequence[bool] | None = None,
    n_experts: int | None = None,
    expert_bytes: int | Sequence[int] = 60,
    seed: int = 1,
    # durations
    attention: Any = 100,
    router: Any = 20,
    shared: Any = 0,
    dense: Any = 0,
    head: Any = 0,
    gap: Any = 0,
    d2h: Any = 10,
    lookup: Any = 5,
    issue: Any = 3,
    one: int = 30,
    two: int = 40,
    group: Group | Sequence[Group] | None = None,
    group_class: Any = 0,
    load_overhead: Any = 0,
    evict_overhead: Any = 0,
    overhead_on: Literal["host", "link", "stream"] = "stream",
    # caches
    capacity: int | Sequence[int] | tuple[str, int] | None = None,
    slots: int | None = None,
    initial: Sequence[int | tuple[int, int]] = (),
    pinned: Sequence[tuple[int, int]] = (),
    eviction: str | PolicyPlan = "lru",
    evict: Literal["on_claim", "after_layer"] = "on_claim",
    reset: Literal["never", "sequence"] = "never",
    staging_slots: int = 2,
    # transfers
    path: Literal["link", "storage", "storage+link"] = "link",
    discipline: Literal["fifo", "two_level"] = "fifo",
    chunks: int = 1,
    wakeup: int = 0,
    resume: int = 0,
    t0: int = 4,
    method: Literal["loop", "batch", "gather"] = "loop",
    pieces: int = 1,
    D: int | Sequence[int] = 60,  # noqa: N803 - the symbol of the specification
    lanes: int = 1,
    read_sizes: Sequence[Any] | None = None,
    read_ends: Sequence[Any] | None = None,
    read_ps: Any = 50,
    dram_capacity: int | None = None,
    # prefetch and schedule
    script: Mapping[tuple[int, int], Any] | None = None,
    prefetch: str | PolicyPlan = "none",
    prefetch_params: Mapping[str, Any] | None = None,
    source: Literal["layer_start", "lookup"] = "lookup",
    into: Literal["cache", "staging"] = "cache",
    prefetch_slots: int = 4,
    t_pred: int = 0,
    touch_on_predict: bool = False,
    grouping: Literal["each", "hits_then_arrived", "hits_then_rest", "after_all"] = "hits_then_arrived",
    demand_order: Literal["router_weight", "expert_id", "ready_first"] = "router_weight",
    # steps
    prefill: Sequence[bool] | Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
    tokens: Sequence[int] | None = None,
    timeline_steps: tuple[int, int] | Literal["all"] | None = "all",
) -> Plan:
    """A validated plan. `sets[step][layer]` is a flat list of experts (one token) or a list over tokens of such lists.

    Durations: a scalar, a list per layer, or a list over steps of lists per layer (`head`, `gap`: scalar or per step;
    control, overheads, `D`, `expert_bytes`: scalar or per layer). An empty set is a pruned layer; `moe=[True, False]`
    makes the second layer dense.

    group: (pairs, distinct) -> ticks, or one such per class; the default is `one` for one expert, `two` for two and
        `two - one` more for each further one, whatever the pairs.
    capacity: bytes of each layer's cache; a list per layer; or ("global", bytes). Default: everything fits. `slots`
        says it in experts of the largest layer.
    initial: ids (layer * n_experts + expert) or (layer, expert); pinned: (layer, expert).
    script: {(step, layer): [(target step, target layer, expert), ...]}: a scripted prefetch policy.
    prefill: one flag per step; default all decode. batches: batch number per step; default one batch.
    read_ps: ticks, or (size, busy) -> ticks, or {size: row}; read_sizes default: one read of the whole expert.
    """
    steps, layers = len(sets), len(sets[0])
    assert all(len(step) == layers for step in sets)
    is_moe = np.array(moe if moe is not None else [True] * layers, dtype=np.bool_)
    flow = _flow(sets, weights)
    mentioned = [int(e) for e in flow["set_expert"]] + [e for _, e in pinned]
    mentioned += [e for targets in (script or {}).values() for _, _, e in targets]
    mentioned += [i[1] if isinstance(i, tuple) else i for i in initial if isinstance(i, tuple) or layers == 1]
    experts = n_experts if n_experts is not None else max(mentioned, default=0) + 1
    sizes = np.where(is_moe, _grid(expert_bytes, layers), 0)
    if slots is not None:
        capacity = slots * int(sizes.max())
    if isinstance(capacity, tuple) and capacity[0] == "global":
        cache_of_layer, capacities = np.where(is_moe, 0, -1), [capacity[1]]
    else:
        moe_layers = [n for n in range(layers) if is_moe[n]]
        cache_of_layer = np.full(layers, -1, dtype=np.int64)
        cache_of_layer[moe_layers] = np.arange(len(moe_layers))
        if isinstance(capacity, Sequence):
            capacities = [int(capacity[n]) for n in moe_layers]  # type: ignore[call-overload]
        else:
            capacities = [experts * int(sizes[n]) if capacity is None else int(capacity) for n in moe_layers]
    pins = np.zeros((layers, experts), dtype=np.bool_)
    for layer, expert in pinned:
        pins[layer, expert] = True
    per_layer = [[_tokens(step[n]) for step in sets] for n in range(layers)]
    counted = [max(max((len(_tokens(layer)) for layer in step), default=1), 1) for step in sets]
    most_pairs = max((sum(map(len, _tokens(layer))) for step in sets for layer in step), default=0)
    groups = [group] if group is None or callable(group) else list(group)
    by_default: Group = lambda p, d: one if d == 1 else two + (d - 2) * (two - one)  # noqa: E731
    durations = [int(d) for d in _grid(D, layers)]
    link = LinkPlan(
        discipline=discipline, chunks=chunks, wakeup_ps=wakeup, copy_overhead_ps=t0, resume_ps=resume, method=method,
        pieces=pieces, transfer_ps=tuple(durations),
    )  # fmt: skip
    reads = read_sizes if read_sizes is not None else [(int(b),) for b in sizes]
    storage = _storage(lanes, reads, read_ends, read_ps, sizes)
    return Plan(
        seed=seed,
        n_layers=layers,
        n_experts=experts,
        is_moe=is_moe,
        expert_bytes=sizes,
        **_steps(
            [bool(p) for p in prefill] if prefill is not None else [False] * steps,
            list(batches) if batches is not None else [0] * steps,
            list(tokens) if tokens is not None else counted,
        ),
        **flow,
        top_k=np.array([max((len(t) for ts in ts_of for t in ts), default=0) for ts_of in per_layer], dtype=np.int64),
        attention_ps=_grid(attention, steps, layers),
        router_ps=_grid(router, steps, layers),
        shared_ps=_grid(shared, steps, layers),
        dense_ps=_grid(dense, steps, layers),
        head_ps=_grid(head, steps),
        host_gap_ps=_grid(gap, steps),
        group_class=_grid(group_class, layers),
        group_ps=tuple(_table(g or by_default, most_pairs, experts) for g in groups),
        d2h_sync_ps=_grid(d2h, layers),
        lookup_ps=_grid(lookup, layers),
        issue_ps=_grid(issue, layers),
        load_overhead_ps=_grid(load_overhead, layers),
        evict_overhead_ps=_grid(evict_overhead, layers),
        overhead_on=overhead_on,
        cache_of_layer=cache_of_layer.astype(np.int64),
        cache_capacity=np.array(capacities, dtype=np.int64),
        pinned=pins,
        initial=tuple(i[0] * experts + i[1] if isinstance(i, tuple) else int(i) for i in initial),
        evict=evict,
        reset=reset,
        staging_slots=staging_slots,
        path=path,
        link=link if "link" in path else None,
        storage=storage if "storage" in path else None,
        dram_capacity=experts * layers * int(sizes.max()) if dram_capacity is None else dram_capacity,
        eviction=eviction if isinstance(eviction, PolicyPlan) else PolicyPlan(kind=eviction),
        prefetch=_prefetch(prefetch, prefetch_params, script),
        prefetch_source=source,
        prefetch_into=into,
        prefetch_slots=prefetch_slots,
        t_pred_ps=t_pred,
        touch_on_predict=touch_on_predict,
        grouping=grouping,
        demand_order=demand_order,
        timeline_steps=(0, steps - 1) if timeline_steps == "all" else timeline_steps,
    ).validate()
