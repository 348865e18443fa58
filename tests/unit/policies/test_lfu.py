"""Counts and ties of `lfu` and `lfu-lifetime`, by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from moesim.policies.eviction import EVICTIONS
from tests.support.caches import facts_of, replay_one

BOTH = ["lfu", "lfu-lifetime"]


def policy(kind):
    made = EVICTIONS.get(kind)()
    made.start(facts_of())
    return made


def order(made, keys):
    """Who leaves first, second, ..."""
    left = bytearray(8)
    for key in keys:
        left[key] = 1
    out = []
    for _ in keys:
        out.append(made.victim(left))
        left[out[-1]] = 0
    return out


def missed(made, *keys):
    for key in keys:
        made.lookup(key)
        made.insert(key, True)


@pytest.mark.parametrize("kind", BOTH)
def test_fewest_lookups_first_ties_least_recent(kind):
    made = policy(kind)
    missed(made, 0, 1, 2, 3)
    for key in (3, 1, 1):
        made.lookup(key)
    # counts: 0: 1, 2: 1 (0 longer ago), 3: 2, 1: 3
    assert order(made, [0, 1, 2, 3]) == [0, 2, 3, 1]


@pytest.mark.parametrize("kind", BOTH)
def test_a_prefetched_expert_enters_with_none_unless_it_was_looked_up_on_its_way(kind):
    made = policy(kind)
    missed(made, 0)
    made.lookup(2)  # late: its prefetch is on its way
    made.insert(1, False)
    made.insert(2, True)
    assert order(made, [0, 1, 2]) == [1, 0, 2]


def test_the_miss_counts_as_one_and_eviction_forgets():
    made = policy("lfu")
    missed(made, 0, 1)
    for _ in range(5):
        made.lookup(0)
    made.remove(0)
    missed(made, 0)
    assert order(made, [0, 1]) == [1, 0]  # both 1, 0 more recent
    made.lookup(1)
    assert order(made, [0, 1]) == [0, 1]


def test_lifetime_counts_survive_eviction():
    made = policy("lfu-lifetime")
    missed(made, 0, 1)
    made.lookup(0)
    made.remove(0)
    missed(made, 0)
    made.lookup(1)
    assert order(made, [0, 1]) == [1, 0]  # 3 against 2
    made.remove(1)
    made.insert(1, False)  # comes back by prefetch, with its count
    made.lookup(1)
    assert order(made, [0, 1]) == [0, 1]  # 3 each, 1 more recent


@pytest.mark.parametrize("kind", BOTH)
def test_touch_renews_recency_and_not_the_count(kind):
    made = policy(kind)
    missed(made, 0, 1, 2)
    made.lookup(2)
    made.touch(0)
    made.touch(5)  # nobody
    assert order(made, [0, 1, 2]) == [1, 0, 2]


def test_looked_up_again_without_having_entered_counts_one():
    """An expert used from prefetch staging that found no room is forgotten; its next lookup is a first one."""
    made = policy("lfu")
    made.lookup(0)
    made.lookup(0)
    made.lookup(0)
    made.insert(0, True)
    missed(made, 1)
    assert order(made, [0, 1]) == [0, 1]


@pytest.mark.parametrize("kind", BOTH)
def test_start_forgets_everything(kind):
    made = policy(kind)
    missed(made, 0, 1)
    made.lookup(0)
    made.start(facts_of())
    missed(made, 0, 1)
    assert order(made, [0, 1]) == [0, 1]


def test_the_two_differ_where_an_old_favourite_returns():
    # room for two. Looked up so far when 2 comes: 0 three times, 1 four times; so 0 leaves. When 0 returns, 1 leaves
    # (4, as 2, but longer ago). When 3 comes, plain has 0 at 1, so it leaves; lifetime has 0 at 4 and 2 leaves.
    trace = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 3, 0]
    hits = {kind: replay_one(trace, 2, kind).hits.tolist() for kind in BOTH}
    assert hits["lfu"][-3:] == [0, 0, 0]
    assert hits["lfu-lifetime"][-3:] == [0, 0, 1]


@pytest.mark.parametrize("kind", BOTH)
def test_a_lookup_costs_the_same_in_a_large_cache(kind):
    """Buckets, not a sort: 8 times the members, less than 3 times the time for as many lookups."""

    def spent(capacity):
        rng = np.random.default_rng(3)
        trace = rng.integers(0, 2 * capacity, 20_000).tolist()
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            replay_one(trace, capacity, kind)
            best = min(best, time.process_time() - start)
        return best

    assert spent(8 * 512) < 3 * spent(512)
