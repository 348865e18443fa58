"""Recorded decoding of gpt-oss-20b through a cold LRU cache per layer (24 layers, 32 experts, 4 picked)."""

from __future__ import annotations

import pytest

from moesim.policies.replay import cache_layout, replay
from moesim.routing import read
from tests.support.traces import step_sets


@pytest.fixture(scope="module")
def trace(shared):
    return read(shared / "data/routing/gpt-oss-20b/gpqa_main.parquet")


@pytest.fixture(scope="module")
def sets(trace):
    return step_sets(trace)


@pytest.mark.parametrize(("slots", "percent"), [(4, 44.15), (8, 65.04), (12, 79.62), (16, 88.49), (24, 96.37)])
def test_cold_lru_per_layer(trace, sets, slots, percent):
    sizes = [1] * trace.n_layers
    cache_of_layer, capacity = cache_layout(slots * trace.n_layers, "layer", sizes)
    got = replay(
        sets.set_ptr,
        sets.set_expert,
        n_experts=32,
        expert_bytes=sizes,
        cache_of_layer=cache_of_layer,
        cache_capacity=capacity,
        eviction="lru",
        reset="sequence",
        step_batch=sets.batch,
    )
    assert not got.approximate
    assert 100 * got.hit_rate == pytest.approx(percent, abs=0.1)
