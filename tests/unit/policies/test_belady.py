"""Belady's rule: ties, and the optimum over all policies by exhaustive search."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesim.policies.eviction import EVICTIONS
from moesim.policies.eviction.belady import belady_label
from moesim.policies.next_use import next_use_table
from moesim.policies.replay import replay
from tests.support.caches import facts_of, replay_one


def fewest_misses(sets, capacity):
    """Over all ways to serve sets with forced insertion and the whole set in the cache: dynamic programming."""

    @cache
    def best(at, held):
        if at == len(sets):
            return 0
        need = frozenset(sets[at])
        missing = need - held
        others = sorted(held - need)
        keep = min(len(others), capacity - len(need))
        # to keep fewer than fit is never better
        return len(missing) + min(best(at + 1, need | frozenset(kept)) for kept in combinations(others, keep))

    return best(0, frozenset())


def run(sets, capacity, eviction, **options):
    flat = np.array([e for s in sets for e in s], dtype=np.int32)
    return replay(
        np.cumsum([0, *[len(s) for s in sets]]),
        flat,
        n_experts=6,
        expert_bytes=[1],
        cache_of_layer=[0],
        cache_capacity=[capacity],
        eviction=eviction,
        **options,
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True), max_size=12), st.integers(2, 4))
def test_optimal_over_every_policy(sets, capacity):
    got = run(sets, capacity, "belady")
    assert got.misses.sum() == fewest_misses(tuple(map(tuple, sets)), capacity)
    assert got.label == "belady"
    for other in ("lru", "lfu", "lfu-lifetime", "fifo", "random"):
        assert run(sets, capacity, other).misses.sum() >= got.misses.sum()


def test_the_textbook_string():
    """Silberschatz: 9 faults with three frames, against 12 (LRU) and 15 (FIFO)."""
    string = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1]
    misses = {k: int(replay_one(string, 3, k).misses.sum()) for k in ("belady", "lru", "fifo")}
    assert misses == {"belady": 9, "lru": 12, "fifo": 15}


def test_ties_larger_bytes_then_larger_id():
    policy = EVICTIONS.get("belady")()
    never = 99
    uses = {0: 5, 1: never, 2: never, 4: never, 5: never}
    policy.start(facts_of(sizes=[2, 3, 2], n_experts=2, next_use=lambda key, now: uses.get(key, never)))
    evictable = bytearray(6)
    for key in (0, 1, 2, 4, 5):
        policy.insert(key, False)
        evictable[key] = 1
    out = []
    while any(evictable):
        out.append(policy.victim(evictable))
        evictable[out[-1]] = 0
        policy.remove(out[-1])
    # layer 1 (id 2) has 3 bytes, the others 2; id 0 is the only one used again
    assert out == [2, 5, 4, 1, 0]


def test_before_the_first_lookup_the_first_position_is_still_to_come():
    """Position 0 looks 0 up: of the initial content it must be the last to leave."""
    table = next_use_table(np.array([0, 1, 2]), np.array([0, 1], dtype=np.int32), 1, 3)
    policy = EVICTIONS.get("belady")()
    policy.start(facts_of(n_experts=3, next_use=table))
    policy.insert(0, False)
    policy.insert(1, False)
    assert policy.victim(bytearray([1, 1, 0])) == 1


def test_next_use_table():
    # two steps of two layers: (0,0) {1}, (0,1) {}, (1,0) {1,0}, (1,1) {1}
    table = next_use_table(np.array([0, 1, 1, 3, 4]), np.array([1, 1, 0, 1], dtype=np.int32), 2, 2)
    assert [table(1, now) for now in (-1, 0, 1, 2, 3)] == [0, 2, 2, 4, 4]
    assert [table(3, now) for now in (-1, 2, 3)] == [3, 3, 4]
    assert table(2, 0) == 4  # never


def test_the_heap_does_not_grow_with_the_trace():
    policy = EVICTIONS.get("belady")()
    facts = facts_of(n_experts=8, next_use=lambda key, now: now + 8)
    policy.start(facts)
    for step in range(5000):
        facts.clock.step = step
        policy.lookup(step % 8)
    assert len(policy._heap) < 200
    assert policy.victim(bytearray([1] * 8)) == 4999 % 8


def test_needs_the_future():
    facts = facts_of()
    with pytest.raises(ValueError, match="next uses"):
        EVICTIONS.get("belady")().start(type(facts)(**{**vars(facts), "next_use": None}))


@pytest.mark.parametrize(
    ("sizes", "caches", "evict", "fits", "label"),
    [
        ([2, 2], [0, 0], "on_claim", True, "belady"),
        ([2, 3], [0, 1], "on_claim", True, "belady"),  # equal within each cache
        ([2, 0, 2], [0, -1, 0], "on_claim", True, "belady"),  # a dense layer does not count
        ([2, 3], [0, 0], "on_claim", True, "belady-greedy"),
        ([2, 2], [0, 0], "after_layer", True, "belady-greedy"),
        ([2, 2], [0, 0], "on_claim", False, "belady-greedy"),
    ],
)
def test_label(sizes, caches, evict, fits, label):
    assert belady_label(sizes, caches, evict, fits) == label


def test_replay_labels():
    assert run([[0, 1, 2]], 2, "belady").label == "belady-greedy"
    assert run([[0, 1]], 2, "belady", evict="after_layer").label == "belady-greedy"
