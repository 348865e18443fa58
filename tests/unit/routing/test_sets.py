"""Distinct sets against a dictionary, pick by pick."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.routing.sets import distinct_sets


def by_dictionary(picks, weights, ptr):
    ptrs, experts, pairs, largest = [0], [], [], []
    for low, high in pairwise(ptr):
        seen: dict[int, list[int]] = {}
        for i in range(low, high):
            if picks[i] >= 0:
                entry = seen.setdefault(picks[i], [0, weights[i]])
                entry[0] += 1
                entry[1] = max(entry[1], weights[i])
        experts += seen
        pairs += [n for n, _ in seen.values()]
        largest += [w for _, w in seen.values()]
        ptrs.append(len(experts))
    return ptrs, experts, pairs, largest


@given(st.lists(st.lists(st.tuples(st.integers(-1, 6), st.integers(-5, 9)), max_size=12), max_size=8))
def test_equal_to_a_dictionary(steps):
    flat = [pair for step in steps for pair in step]
    picks, weights = [p for p, _ in flat], [w for _, w in flat]
    ptr = [0, *np.cumsum([len(s) for s in steps]).astype(int).tolist()]
    got = distinct_sets(
        np.array(picks, dtype=np.int32), np.array(weights, dtype=np.int64), np.array(ptr, dtype=np.int64)
    )
    want = by_dictionary(picks, weights, ptr)
    assert (got.set_ptr.tolist(), got.set_expert.tolist(), got.set_pairs.tolist(), got.set_weight.tolist()) == want
    assert [a.dtype.name for a in (got.set_ptr, got.set_expert, got.set_pairs, got.set_weight)] == [
        "int64",
        "int32",
        "int32",
        "int64",
    ]
    assert got.set_touch.dtype == np.int32
    last = [dict.fromkeys(reversed([p for p, _ in step if p >= 0])) for step in steps]
    assert got.set_touch.tolist() == [p for order in last for p in reversed(order)]


def test_without_weights_they_are_zero():
    got = distinct_sets(np.array([4, 4, 1]), None, np.array([0, 3]))
    assert got.set_expert.tolist() == [4, 1]
    assert got.set_weight.tolist() == [0, 0]


@pytest.mark.parametrize("ptr", [[0, 2], [1, 3], [0, 3, 2, 3]])
def test_ptr_must_cover_the_picks(ptr):
    with pytest.raises(ValueError, match="ptr"):
        distinct_sets(np.array([0, 1, 2]), None, np.array(ptr))


def test_a_million_picks_take_well_under_a_second():
    picks = np.arange(10**6, dtype=np.int32) * 7919 % 128
    ptr = np.arange(0, 10**6 + 1, 8, dtype=np.int64)
    start = time.process_time()
    distinct_sets(picks, picks.astype(np.int64), ptr)
    assert time.process_time() - start < 0.5
