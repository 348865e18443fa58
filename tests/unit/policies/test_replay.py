"""Replay by hand: claims, trims, staging, placement, initial content, resets, sets that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.policies.eviction import Eviction
from moesim.policies.replay import cache_layout, replay
from moesim.policies.schedule import Layerwise


def run(steps, capacity, eviction="lru", *, sizes=(10,), n_experts=6, scope="layer", **options):
    """`steps[s][l]` is the set of a step at a layer."""
    rows = [layer for step in steps for layer in step]
    cache_of_layer, capacities = cache_layout(capacity, scope, sizes)
    return replay(
        np.cumsum([0, *map(len, rows)]),
        np.array([e for row in rows for e in row], dtype=np.int32),
        n_experts=n_experts,
        expert_bytes=sizes,
        cache_of_layer=cache_of_layer,
        cache_capacity=capacities,
        eviction=eviction,
        **options,
    )


def test_a_set_is_looked_up_before_anything_of_it_is_loaded():
    """Room for two, sets of two: 0 stays for the second set though 2 comes in before it is used."""
    got = run([[[0, 1]], [[2, 0]], [[2, 1]]], 20)
    assert got.hits.tolist() == [0, 1, 1]
    assert got.misses.tolist() == [2, 1, 1]
    assert (got.lookups, got.hit_rate) == (6, 2 / 6)
    assert (got.bytes_loaded, got.evictions, got.label, got.approximate) == (40, 2, "lru", False)


def test_bytes_by_layer():
    got = run([[[0], [1, 2]], [[1], []]], 1000, sizes=(10, 3))
    assert got.misses.tolist() == [1, 2, 1, 0]
    assert got.bytes_loaded == 10 + 2 * 3 + 10


def test_equal_shares_and_one_for_all():
    assert cache_layout(100, "layer", [5, 0, 7, 7]) == ([0, -1, 1, 2], [33, 33, 33])
    assert cache_layout(100, "global", [5, 0, 7]) == ([0, -1, 0], [100])
    assert cache_layout(100, "layer", [0]) == ([-1], [])


def test_a_global_cache_evicts_over_layers():
    steps = [[[0], [0]], [[1], [0]], [[0], []]]
    assert run(steps, 20, sizes=(10, 10), scope="global").hits.tolist() == [0, 0, 0, 1, 0, 0]
    # lru: (1,0) evicts (0,0); per layer with two places each nothing needs to leave
    assert run(steps, 40, sizes=(10, 10)).hits.tolist() == [0, 0, 0, 1, 1, 0]


def test_after_layer_overshoots_and_trims_around_the_set():
    got = run([[[0, 1, 2]], [[2]], [[0, 2]], [[1]]], 20, evict="after_layer")
    # the first set of three stays whole, 10 bytes over; 2 alone: the oldest, 0, leaves
    assert got.hits.tolist() == [0, 1, 1, 0]
    assert got.overshoot_peak == 10
    assert got.evictions == 3  # 0 after the second set; 1 after the third; 0 or 2 after the last
    assert not got.approximate
    assert run([[[0, 1, 2]], [[0, 1, 2]]], 20, evict="after_layer").hits.tolist() == [0, 3]


def test_a_set_of_hits_trims_too():
    """{0, 1} hits, and still 2, left over from the overshoot before, must go."""
    got = run([[[0, 1, 2]], [[0, 1]], [[2]]], 20, evict="after_layer")
    assert got.hits.tolist() == [0, 2, 0]


def test_a_set_that_does_not_fit_is_served_in_waves():
    """As micro-scenario C: room for two with {9, 0}, set 0 1 2 3: one hit, three misses, {2, 3} remain."""
    got = run([[[0, 1, 2, 3]], [[2, 3]], [[0]]], 20, n_experts=10, initial=[9, 0])
    assert got.hits.tolist() == [1, 2, 0]
    assert got.approximate


def test_an_expert_larger_than_its_cache_never_enters():
    got = run([[[0, 1], [0]], [[0, 1], [0]]], 30, sizes=(20, 3))
    assert got.hits.tolist() == [0, 0, 0, 1]
    assert (got.evictions, got.approximate) == (0, False)
    assert run([[[0]], [[0]]], 0).hits.tolist() == [0, 0]


def test_pinned_experts_hit_and_take_no_room():
    pinned = np.zeros((1, 6), dtype=bool)
    pinned[0, 5] = True
    got = run([[[5, 0]], [[5, 0]], [[1]], [[5]]], 10, pinned=pinned)
    assert got.hits.tolist() == [1, 2, 0, 1]
    assert (got.evictions, got.bytes_loaded) == (1, 20)


def test_initial_content_leaves_in_order_of_insertion():
    got = run([[[2]], [[1]], [[0]]], 20, initial=[0, 1])
    assert got.hits.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("reset", "hits"), [("never", [0, 1, 1, 1]), ("sequence", [0, 1, 0, 1])])
def test_reset_goes_by_batch(reset, hits):
    assert run([[[0]], [[0]], [[0]], [[0]]], 10, reset=reset, step_batch=[0, 0, 1, 1]).hits.tolist() == hits


def test_reset_brings_back_the_initial_content():
    got = run([[[1]], [[0]], [[1]]], 10, initial=[0], reset="sequence", step_batch=[0, 1, 1])
    assert got.hits.tolist() == [0, 1, 0]
    assert got.evictions == 2  # a reset evicts nobody


def test_recency_by_last_appearance():
    """Tokens 0 1 and 2 0 of one step: 0 is the most recent, 1 the least."""
    steps, touch = [[[0, 1, 2]], [[3]], [[0]], [[1]]], np.array([1, 2, 0, 3, 0, 1], dtype=np.int32)
    assert run(steps, 30, set_touch=touch).hits.tolist() == [0, 0, 1, 0]
    assert run(steps, 30).hits.tolist() == [0, 0, 0, 0]


def test_loads_go_by_demand_order():
    """Under fifo who was claimed first leaves first: by weight 1 before 0, by id 0 before 1."""
    steps, weight = [[[0, 1]], [[2]], [[0]]], np.array([3, 8, 1, 1])
    assert run(steps, 20, "fifo", set_weight=weight).hits.tolist() == [0, 0, 1]
    by_id = Layerwise(demand_order="expert_id")
    assert run(steps, 20, "fifo", set_weight=weight, schedule=by_id).hits.tolist() == [0, 0, 0]


def test_a_policy_class_needs_no_registration():
    class Stubborn(Eviction):
        """Evicts the smallest id."""

        kind = "stubborn"

        def victim(self, evictable):
            return evictable.index(1)

    got = run([[[0, 1]], [[2]], [[1]]], 20, Stubborn)
    assert (got.hits.tolist(), got.label) == ([0, 0, 1], "stubborn")


def test_refusals():
    with pytest.raises(ValueError, match="3 sets do not make whole steps of 2 layers"):
        run([[[0], [0]], [[0]]], 10, sizes=(1, 1))
    with pytest.raises(ValueError, match="step_batch"):
        run([[[0]]], 10, reset="sequence")
    with pytest.raises(ValueError, match="layer 1 has experts to look up but no cache"):
        run([[[0], [0]]], 10, sizes=(1, 0))
    with pytest.raises(InputError, match="lru"):
        run([[[0]]], 10, "lruu")


def test_no_lookups_no_rate():
    assert run([[[]]], 10).hit_rate == 0
