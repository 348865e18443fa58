"""Placement, schedule, selection, miss: what their first policies say."""

from __future__ import annotations

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.policies.miss import MISSES, Action
from moesim.policies.placement import PLACEMENTS
from moesim.policies.placement.popular import by_popularity
from moesim.policies.schedule import DEMAND_ORDERS, GROUPINGS, SCHEDULES, Layerwise, Schedule
from moesim.policies.selection import SELECTIONS, Selection

POPULARITY = np.array([[5.0, 1.0, 9.0], [0.0, 0.0, 0.0], [9.0, 0.0, -1.0]])
SIZES = [10, 0, 4]  # layer 1 is dense; layer 2 has two experts


def pinned(kind, **params):
    mask = PLACEMENTS.get(kind)(**params).pin(POPULARITY, SIZES)
    assert (mask.dtype, mask.shape) == (np.bool_, POPULARITY.shape)
    return [tuple(x) for x in np.argwhere(mask).tolist()]


def test_by_popularity_ties_smaller_id_and_only_what_exists():
    assert by_popularity(POPULARITY, SIZES) == [2, 6, 0, 1, 7]


def test_none_pins_nothing():
    assert pinned("none") == []


@pytest.mark.parametrize(
    ("nbytes", "experts"),
    [
        (0, []),
        (3, []),
        (9, [(2, 0), (2, 1)]),  # the most popular does not fit, nor do the next two of its layer
        (14, [(0, 2), (2, 0)]),
        (18, [(0, 2), (2, 0), (2, 1)]),  # neither 5.0 nor 1.0 fits into the last 4 bytes, the unpopular one does
        (10**6, [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]),
    ],
)
def test_popular_takes_what_fits_in_order(nbytes, experts):
    assert pinned("popular", nbytes=nbytes) == experts


def test_popular_refuses_negative_bytes():
    with pytest.raises(InputError, match=r"placement\.pinned\.popular"):
        PLACEMENTS.get("popular")(nbytes=-1)


def test_layers_pins_whole_layers():
    assert pinned("layers", layers=[2]) == [(2, 0), (2, 1)]
    assert pinned("layers", layers=[2, 0]) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]


def test_layers_refuses_layers_without_experts_all_at_once():
    with pytest.raises(InputError) as error:
        pinned("layers", layers=[1, 0, 7, -1])
    assert [(f.field, f.got) for f in error.value.faults] == [
        ("placement.pinned.layers.0", 1), ("placement.pinned.layers.2", 7), ("placement.pinned.layers.3", -1),
    ]  # fmt: skip
    assert "0, 2" in error.value.faults[0].allowed


# ---- schedule ------------------------------------------------------------------------------------------------------

WEIGHT = {7: 1, 3: 5, 4: 5, 1: 9}


@pytest.mark.parametrize(
    ("order", "expected"),
    [("router_weight", [1, 3, 4, 7]), ("expert_id", [1, 3, 4, 7]), ("ready_first", [7, 4, 1, 3])],
)
def test_demand_orders(order, expected):
    schedule = SCHEDULES.get("layerwise")(demand_order=order)
    assert schedule.demands([7, 3, 4, 1], WEIGHT, {7: 2, 4: 1}) == expected


def test_demand_orders_differ_and_ties_go_by_first_appearance():
    keys = [7, 4, 3, 1]
    assert Layerwise().demands(keys, WEIGHT, {}) == [1, 4, 3, 7]
    assert Layerwise(demand_order="expert_id").demands(keys, WEIGHT, {}) == [1, 3, 4, 7]
    assert Schedule().demands(keys, WEIGHT, {}) == keys


# ready (9 and 5 are hits, 7 arrived), in flight, waiting for bytes, first group -> what runs
@pytest.mark.parametrize(
    ("ready", "hits", "in_flight", "waiting", "first", "runs"),
    [
        #                                 each   arrived     rest        all
        ([9, 5, 7], 2, 1, 0, True, [[5], [9, 5, 7], [9, 5, 7], []]),
        ([9, 7], 1, 1, 0, False, [[9], [9, 7], [], []]),
        ([7, 2], 0, 1, 1, False, [[7], [7, 2], [], []]),
        ([7, 2], 0, 0, 1, False, [[7], [7, 2], [7, 2], [7, 2]]),  # one waits for bytes these hold
        ([9, 5], 2, 0, 3, True, [[5], [9, 5], [9, 5], [9, 5]]),
        ([7, 2], 0, 0, 0, False, [[7], [7, 2], [7, 2], [7, 2]]),
        ([], 0, 2, 0, True, [[], [], [], []]),
    ],
)
def test_groupings(ready, hits, in_flight, waiting, first, runs):
    got = [Layerwise(grouping=g).group(ready, hits, in_flight, waiting, first) for g in GROUPINGS]
    assert got == runs
    assert Schedule().group(ready, hits, in_flight, waiting, first) == ready


def test_unknown_names_are_refused_together_with_the_nearest():
    with pytest.raises(InputError) as error:
        Layerwise(demand_order="router_wait", grouping="afterall")
    assert [(f.field, f.nearest) for f in error.value.faults] == [
        ("schedule.demand_order", "router_weight"), ("schedule.grouping", "after_all"),
    ]  # fmt: skip
    assert error.value.faults[0].allowed == " | ".join(DEMAND_ORDERS)


# ---- selection and miss --------------------------------------------------------------------------------------------


NO_VIEW = object()  # fails if a policy looks


def test_router_selection_keeps_the_picks():
    policy = SELECTIONS.get("router")()
    assert not policy.changes
    assert Selection().changes
    assert policy.select(NO_VIEW, 0, 0, [4, 2], [9, 7]) == [(4, 9), (2, 7)]


def test_load_loads():
    assert MISSES.get("load")().decide(NO_VIEW, 0, 0, 3, 1) is Action.LOAD
