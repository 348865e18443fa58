"""fifo, random and static: what tells them from lru."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from moesim.core.streams import attempts, draw, stream_id
from moesim.policies.eviction import EVICTIONS
from moesim.policies.replay import replay
from tests.support.caches import facts_of, replay_one, small_cache


def test_a_hit_protects_under_lru_and_not_under_fifo():
    trace = [0, 1, 0, 2, 0]
    assert replay_one(trace, 2, "lru").hits.tolist() == [0, 0, 1, 0, 1]
    assert replay_one(trace, 2, "fifo").hits.tolist() == [0, 0, 1, 0, 0]


def test_fifo_goes_by_claims_and_arrivals():
    policy = EVICTIONS.get("fifo")()
    policy.start(facts_of())
    for key in (3, 1):
        policy.lookup(key)
    policy.insert(1, True)  # claims first
    policy.insert(2, False)  # a prefetch arrives
    policy.insert(3, True)
    policy.lookup(1)
    policy.touch(1)
    assert policy.victim(bytearray([1] * 8)) == 1
    policy.remove(1)
    assert policy.victim(bytearray([1] * 8)) == 2


def test_attempts_are_draws():
    some = attempts(5, 77, 3, 2, 9)
    assert [next(some) for _ in range(4)] == [draw(5, 77, 3, 2, 9, a) for a in range(4)]


@pytest.mark.parametrize("layer", [None, 1])
def test_random_follows_the_draw_rule_over_a_whole_claim(layer):
    """Three victims of one claim use up one sequence of attempts; ids of a layer's cache are drawn within it."""
    n, layers = 6, 3
    cache, _, facts = small_cache("random", 6, sizes=[1] * layers, n_experts=n, layer=layer, seed=11)
    # a claim for two takes two victims, so sizes are changed underneath: every expert has 1 byte, the last layer 3
    facts.expert_bytes[2] = 3
    first = 0 if layer is None else layer * n
    members = [first + e for e in range(6)]
    cache.fill(members)
    facts.clock.step, facts.clock.layer = 4, 1
    ids = layers * n if layer is None else n
    wanted, attempt = [], 0
    while len(wanted) < 3:
        key = first + draw(11, stream_id("eviction"), 4, 1, 5, attempt) % ids
        attempt += 1
        if key in members and key not in wanted:
            wanted.append(key)
    assert cache.claim(2 * n + 5) == wanted


def test_random_is_even():
    """Each member leaves as often as any other: 4,000 first victims over 4 members, within 4 sigma."""
    counts = Counter()
    policy = EVICTIONS.get("random")()
    facts = facts_of(n_experts=16)
    policy.start(facts)
    evictable = bytearray(16)
    for key in (1, 4, 9, 15):
        evictable[key] = 1
    for step in range(4000):
        facts.clock.step = step
        policy.claim(2)
        counts[policy.victim(evictable)] += 1
    assert set(counts) == {1, 4, 9, 15}
    assert all(abs(c - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75) for c in counts.values())


def test_another_seed_is_another_run():
    trace = np.random.default_rng(0).integers(0, 30, 400).tolist()
    hits = [replay_one(trace, 10, "random", seed=s).hits.tolist() for s in (1, 1, 2)]
    assert hits[0] == hits[1] != hits[2]


@pytest.mark.parametrize("evict", ["on_claim", "after_layer"])
def test_static_keeps_its_initial_content(evict):
    got = replay(
        np.array([0, 2, 4, 6]),
        np.array([0, 3, 1, 2, 0, 1], dtype=np.int32),
        n_experts=4,
        expert_bytes=[10],
        cache_of_layer=[0],
        cache_capacity=[25],
        eviction="static",
        evict=evict,
        initial=[0, 1, 2],  # the third does not fit
    )
    assert (got.hits.tolist(), got.misses.tolist()) == ([1, 1, 2], [1, 1, 0])
    assert (got.evictions, got.overshoot_peak, got.bytes_loaded, got.approximate) == (0, 0, 20, False)
