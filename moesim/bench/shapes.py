"""Plans to measure with, made directly: a bench must not move when a scenario or a profile does.

Durations have the size of what they stand for (bf16 experts over PCIe, single-token decode) so that link and stream
keep each other waiting as they do in real runs. They predict nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from moesim.plan.layout import lay_out, picks_of, spans_of
from moesim.plan.plan import LinkPlan, Plan, PolicyPlan
from moesim.policies.prefetch import Prefetch
from moesim.policies.view import View
from moesim.routing.generators import generate
from moesim.routing.sets import distinct_sets

__all__ = ["MostlyRight", "decode_plan", "qwen3_30b"]

_US = 10**6  # ticks


class MostlyRight(Prefetch):
    """`experts` guesses for the next layer of this token: the first of its set, but the last guess is never in it.

    Cheap on purpose (it reads the truth and draws nothing), and the same list for every model that is timed.
    """

    kind = "mostly_right"

    def __init__(self, *, experts: int) -> None:
        self._n = experts

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        target = layer + 1
        if target >= len(view.moe_layers()):
            return ()
        truth = [expert for expert, _ in view.true_set(step, target)]
        wrong = (truth[0] + step) % view.n_experts
        while wrong in truth:
            wrong = (wrong + 1) % view.n_experts
        return [(step, target, expert) for expert in (*truth[: self._n - 1], wrong)]


def decode_plan(
    *,
    tokens: int,
    layers: int,
    experts: int,
    top_k: int,
    slots: int,
    prefetch: int = 0,
    chunks: int = 1,
    discipline: Literal["fifo", "two_level"] = "fifo",
    routing: str = "uniform",
    params: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Plan:
    """`tokens` decode steps of one sequence: LRU with `slots` experts in each of `layers` caches, full at the start.

    `prefetch` experts a layer by `MostlyRight`; experts lie in host memory behind one link.
    """
    trace = generate(
        routing, n_layers=layers, n_experts=experts, top_k=top_k, tokens=[tokens], seed=seed, params=params
    )
    spans = spans_of(trace, sequences=1, prompt_tokens=0, output_tokens=tokens)
    layout = lay_out(spans, batch_size=1, prefill_chunk=1)
    picks, weights, pick_ptr, _ = picks_of(trace, layout, list(range(layers)), layers)
    sets = distinct_sets(picks, weights if len(weights) else None, pick_ptr)
    size = 9_437_184  # one bf16 expert of 3 * 2048 * 768

    def by_step(ticks: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.full((tokens, layers), ticks, dtype=np.int64)

    def by_layer(value: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.full(layers, value, dtype=np.int64)

    group = np.zeros((top_k + 1, top_k + 1), dtype=np.int64)
    for pairs in range(1, top_k + 1):
        group[pairs, 1 : pairs + 1] = [2 * _US + 10 * _US * distinct for distinct in range(1, pairs + 1)]
    return Plan(
        seed=seed,
        n_layers=layers,
        n_experts=experts,
        is_moe=np.ones(layers, dtype=np.bool_),
        expert_bytes=by_layer(size),
        step_batch=layout.batch,
        step_prefill=layout.prefill,
        step_tokens=layout.tokens,
        step_generated=layout.generated,
        step_first=layout.first,
        step_arrival=layout.arrival,
        picks=picks,
        weights=weights,
        pick_ptr=pick_ptr,
        set_expert=sets.set_expert,
        set_touch=sets.set_touch,
        set_pairs=sets.set_pairs,
        set_weight=sets.set_weight,
        set_ptr=sets.set_ptr,
        top_k=by_layer(top_k),
        attention_ps=by_step(40 * _US),
        router_ps=by_step(5 * _US),
        shared_ps=by_step(0),
        dense_ps=by_step(0),
        head_ps=np.full(tokens, 600 * _US, dtype=np.int64),
        host_gap_ps=np.full(tokens, 100 * _US, dtype=np.int64),
        group_class=by_layer(0),
        group_ps=(group,),
        d2h_sync_ps=by_layer(10 * _US),
        lookup_ps=by_layer(5 * _US),
        issue_ps=by_layer(3 * _US),
        load_overhead_ps=by_layer(0),
        evict_overhead_ps=by_layer(0),
        cache_of_layer=np.arange(layers, dtype=np.int64),
        cache_capacity=by_layer(slots * size),
        pinned=np.zeros((layers, experts), dtype=np.bool_),
        initial=tuple(layer * experts + expert for layer in range(layers) for expert in range(slots)),
        path="link",
        link=LinkPlan(
            discipline=discipline,
            chunks=chunks,
            wakeup_ps=5 * _US if discipline == "two_level" else 0,
            copy_overhead_ps=4 * _US,
            transfer_ps=(378 * _US,) * layers,
        ),
        prefetch=PolicyPlan(kind="none")
        if prefetch == 0
        else PolicyPlan(kind="mostly_right", params={"experts": prefetch}, make=MostlyRight),
    ).validate()


qwen3_30b = partial(
    decode_plan,
    layers=48,
    experts=128,
    top_k=8,
    slots=24,
    chunks=3,
    routing="sticky_zipf",
    params={"exponent": "0.6", "repeat": "0.3"},
)
"""The shape of Qwen3-30B-A3B in bf16 on a card of 16 GB, which caches 24 of 128 experts a layer.

Takes `tokens`, `prefetch`, `discipline`."""
