"""Replay and engine share one cache: without prefetch, and where every set fits, they count the same hits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesim.engine.reference import simulate
from moesim.policies.eviction import EVICTIONS
from moesim.policies.replay import replay
from moesim.policies.schedule import Layerwise
from tests.support.plans import small_plan

EXPERTS, K = 6, 2


@st.composite
def plans(draw, kind):
    """Plans of one to three layers (the second may be dense), one to three tokens a step, up to two batches."""
    layers = draw(st.integers(1, 3))
    moe = [True, draw(st.booleans()), True][:layers]
    picks = st.lists(st.integers(0, EXPERTS - 1), min_size=K, max_size=K, unique=True)
    tokens = st.lists(picks, min_size=1, max_size=draw(st.sampled_from([1, 3])))
    steps = draw(st.integers(1, 12))
    sets = [[draw(tokens) if m else [] for m in moe] for _ in range(steps)]
    weights = [[[[draw(st.integers(1, 3)) for _ in t] for t in layer] for layer in step] for step in sets]
    # 60 or 40 bytes: a cache of 50 takes only some layers' experts, one of 130 two, one of 400 every set
    sizes = [60, 40, draw(st.sampled_from([40, 60]))][:layers]
    shared = draw(st.booleans())
    room = draw(st.sampled_from([0, 50, 130, 260, 400, 600]))
    pinned = draw(st.lists(st.tuples(st.just(0), st.integers(0, EXPERTS - 1)), max_size=2, unique=True))
    ids = [n * EXPERTS + e for n in range(layers) if moe[n] for e in range(EXPERTS) if (n, e) not in pinned]
    turn = draw(st.integers(0, steps))
    return small_plan(
        sets,
        weights=weights,
        moe=moe,
        n_experts=EXPERTS,
        expert_bytes=sizes,
        capacity=("global", room) if shared else room,
        initial=draw(st.lists(st.sampled_from(ids), max_size=4, unique=True)),
        pinned=pinned,
        eviction=kind,
        evict=draw(st.sampled_from(["on_claim", "after_layer"])),
        reset=draw(st.sampled_from(["never", "sequence"])),
        batches=[int(s >= turn) for s in range(steps)],
        demand_order=draw(st.sampled_from(["router_weight", "expert_id"])),
        seed=draw(st.integers(0, 3)),
    )


@pytest.mark.parametrize("kind", EVICTIONS.kinds())
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hits_of_every_set(kind, data):
    plan = data.draw(plans(kind))
    got = replay(
        plan.set_ptr,
        plan.set_expert,
        n_experts=plan.n_experts,
        expert_bytes=plan.expert_bytes.tolist(),
        cache_of_layer=plan.cache_of_layer.tolist(),
        cache_capacity=plan.cache_capacity.tolist(),
        eviction=kind,
        evict=plan.evict,
        reset=plan.reset,
        step_batch=plan.step_batch.tolist(),
        initial=plan.initial,
        pinned=plan.pinned,
        set_touch=plan.set_touch,
        set_weight=plan.set_weight,
        schedule=Layerwise(demand_order=plan.demand_order, grouping=plan.grouping),
        seed=plan.seed,
    )
    result = simulate(plan)
    assert result.counters["late"] == 0
    assert result.counters["lookups"] == got.lookups
    if got.approximate:
        assert result.counters["waits_for_bytes"] > 0
        return
    assert got.hits.reshape(plan.n_steps, -1).tolist() == result.hits.tolist()
    assert got.misses.reshape(plan.n_steps, -1).tolist() == result.misses.tolist()
    for counter in ("evictions", "bytes_loaded", "overshoot_peak"):
        assert getattr(got, counter) == result.counters[counter], counter
