"""Micro-scenarios of grouping (rule 10), demand order (rule 5) and what a wait names (rule 11).

Numbers unless said otherwise: attention 100, router 20, d2h_sync 10, lookup 5, issue 3, t0 4 (one piece), D 60, one
expert 30, two together 40, three 50; 60 bytes each. R = 135 is the lookup of a layer that starts at 0, F the tick at
which the walk is over. "No control" (STILL): R = F = the layer's start.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.micro import STILL, Cases, Expect, check
from tests.support.plans import small_plan

case = Cases()


@case
def each_hits_by_id_then_arrivals() -> tuple[Plan, Expect]:
    """`each`: hits 4 2 0, misses 1 3, set order 4 1 2 3 0, shared 10, one expert 50.

    1 issued 138, link 138-202; 3 issued 141, link 202-266; F = 141. Shared alone 141-151. Hits by id: 0 151-201,
    2 201-251, 4 251-301 (1 has been there since 202, but hits go first). Then arrivals: 1 301-351, 3 351-401.
    401 = 100 + 20 + 21 + 10 + 5 * 50, no wait.
    """
    plan = small_plan([[[4, 1, 2, 3, 0]]], initial=[0, 2, 4], shared=10, one=50, grouping="each")
    return plan, Expect(
        layer_end=[[401]],
        groups=[(151, 201, (0,)), (201, 251, (2,)), (251, 301, (4,)), (301, 351, (1,)), (351, 401, (3,))],
        waits=[],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 10, "experts": 250},
        counters={"stream_busy": 380},
    )


@case
def hits_then_arrived_shared_with_the_first_group() -> tuple[Plan, Expect]:
    """Set 0 1 2 3, hits 0 2, shared 10: first group 10 + 40, 141-191; wait -202; 1 202-232; wait 232-266; 3 266-296."""
    plan = small_plan([[[0, 1, 2, 3]]], initial=[0, 2], shared=10)
    return plan, Expect(
        layer_end=[[296]],
        waits=[(191, 202, 1, 0), (232, 266, 3, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 10, "experts": 100, "stall_link": 45},
    )


@case
def hits_then_arrived_takes_all_that_came() -> tuple[Plan, Expect]:
    """Set 0 1 2 3, hits 0 2, two together 130: 141-271; by then 1 (202) and 3 (266) are there: together 271-401."""
    return small_plan([[[0, 1, 2, 3]]], initial=[0, 2], two=130), Expect(
        layer_end=[[401]],
        groups=[(141, 271, (0, 2)), (271, 401, (1, 3))],
        waits=[],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 260},
    )


@case
def arrival_at_the_tick_the_stream_frees() -> tuple[Plan, Expect]:
    """One hit of 61: 0 141-202. Miss 1 arrives at 202 (phase 2), before the stream picks (phase 6): no wait, 202-263.

    Set 0 1 2: 2 is issued at 141 and arrives at 266: wait 263-266, 266-327.
    """
    return small_plan([[[0, 1, 2]]], initial=[0], one=61), Expect(
        layer_end=[[327]],
        groups=[(141, 202, (0,)), (202, 263, (1,)), (266, 327, (2,))],
        waits=[(263, 266, 2, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 183, "stall_link": 3},
    )


@case
def shared_alone_when_nothing_is_ready() -> tuple[Plan, Expect]:
    """Both miss: F = 141, shared 10 alone 141-151; wait 151-202; 0 202-232; wait 232-266; 1 266-296."""
    return small_plan([[[0, 1]]], shared=10), Expect(
        layer_end=[[296]],
        groups=[(202, 232, (0,)), (266, 296, (1,))],
        waits=[(151, 202, 0, 0), (232, 266, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 10, "experts": 60, "stall_link": 85},
    )


@case
def shared_longer_than_the_loads() -> tuple[Plan, Expect]:
    """Both miss, shared 200 alone 141-341; both have arrived (202, 266): together 341-381. No wait."""
    return small_plan([[[0, 1]]], shared=200), Expect(
        layer_end=[[381]],
        groups=[(341, 381, (0, 1))],
        waits=[],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 200, "experts": 40},
    )


@case
def hits_then_rest() -> tuple[Plan, Expect]:
    """Set 0 1 2 3, hits 0 2, shared 10: 141-191; the rest together once 3 has arrived (266): 266-306.

    The wait 191-266 is ended by 3 (transfer 1); 1's arrival at 202 changes nothing.
    """
    plan = small_plan([[[0, 1, 2, 3]]], initial=[0, 2], shared=10, grouping="hits_then_rest")
    return plan, Expect(
        layer_end=[[306]],
        waits=[(191, 266, 3, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 10, "experts": 80, "stall_link": 75},
    )


@case
def after_all() -> tuple[Plan, Expect]:
    """Set 0 1 2 3, hits 0 2, shared 10 waits too: 141-266, then four together 60 + 10: 336."""
    plan = small_plan([[[0, 1, 2, 3]]], initial=[0, 2], shared=10, grouping="after_all")
    return plan, Expect(
        layer_end=[[336]],
        waits=[(141, 266, 3, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "shared": 10, "experts": 60, "stall_link": 125},
    )


@case
def after_all_closes_early() -> tuple[Plan, Expect]:
    """C under `after_all`: room 2, {x = 4, a = 0}, set 0 1 2 3, no control.

    1 takes x's place, link 0-64; 2 and 3 wait for bytes. 0 is ready but 1 is in flight: wait. At 64 nothing of the set
    is in flight and loads wait: {0, 1} close early, 64-104. 104: 2 takes 0's place and 3 takes 1's (least recent
    first), issued 104, link 104-168-232. At 168 no load waits: 3 is waited for; {2, 3} 232-272.
    272 = 64 + 40 + 128 + 40.
    """
    plan = small_plan([[[0, 1, 2, 3]]], slots=2, initial=[4, 0], grouping="after_all", **STILL)
    return plan, Expect(
        layer_end=[[272]],
        link=[(0, 64, 1), (104, 168, 2), (168, 232, 3)],
        groups=[(64, 104, (0, 1)), (232, 272, (2, 3))],
        waits=[(0, 64, 1, 0), (104, 232, 3, 2)],
        breakdown={"experts": 80, "stall_link": 192},
        counters={"evictions": 3, "waits_for_bytes": 2},
    )


@case
def hits_then_rest_closes_early() -> tuple[Plan, Expect]:
    """C under `hits_then_rest`: 0 alone 0-30; 30: 2 takes its place; 3 still waits.

    1 arrives 64: 2 is in flight (queued 30, link 64-128): wait. 128: 2 there, 3 waits, none in flight: {1, 2} 128-168.
    168: 3 takes 1's place, link 168-232; {3} 232-262. Waits 30-128 (2 ended it) and 168-232: 98 + 64.
    """
    plan = small_plan([[[0, 1, 2, 3]]], slots=2, initial=[4, 0], grouping="hits_then_rest", **STILL)
    return plan, Expect(
        layer_end=[[262]],
        link=[(0, 64, 1), (64, 128, 2), (168, 232, 3)],
        groups=[(0, 30, (0,)), (128, 168, (1, 2)), (232, 262, (3,))],
        waits=[(30, 128, 2, 1), (168, 232, 3, 2)],
        breakdown={"experts": 100, "stall_link": 162},
    )


@case
def demand_order_router_weight() -> tuple[Plan, Expect]:
    """Tokens 3 1 and 2 1 with weights 20 15 and 20 35: largest weight first: 1 (35), then 3 and 2 (20 each) by first
    appearance, not by id.

    Issued 138, 141, 144; F = 144; link 138-202-266-330. 1 has two pairs, the table here charges experts only.
    """
    plan = small_plan([[[[3, 1], [2, 1]]]], weights=[[[[20, 15], [20, 35]]]])
    return plan, Expect(
        layer_end=[[360]],
        link=[(138, 202, 1), (202, 266, 3), (266, 330, 2)],
        groups=[(202, 232, (1,)), (266, 296, (3,)), (330, 360, (2,))],
        breakdown={"attention": 100, "router": 20, "control": 24, "experts": 90, "stall_link": 58 + 34 + 34},
    )


@case
def demand_order_expert_id() -> tuple[Plan, Expect]:
    """The same tokens by expert id: 1, 2, 3."""
    plan = small_plan([[[[3, 1], [2, 1]]]], weights=[[[[20, 15], [20, 35]]]], demand_order="expert_id")
    return plan, Expect(layer_end=[[360]], link=[(138, 202, 1), (202, 266, 2), (266, 330, 3)])


@case
def demand_order_without_weights_is_first_appearance() -> tuple[Plan, Expect]:
    """No weights: set order 3 1 2."""
    return small_plan([[[[3, 1], [2, 1]]]]), Expect(
        layer_end=[[360]], link=[(138, 202, 3), (202, 266, 1), (266, 330, 2)]
    )


@case
def wait_ended_by_two_arrivals_names_the_smaller() -> tuple[Plan, Expect]:
    """Unified memory, two lanes, one read of 50 each, issue free, set 1 0: issued at 135, 1 first; both arrive at 185.

    The wait 135-185 is ended by both; the record names expert 0, which is transfer 1. Together 185-225.
    """
    plan = small_plan([[[1, 0]]], issue=0, path="storage", lanes=2, read_ps=50)
    return plan, Expect(
        layer_end=[[225]],
        reads=[(135, 185, 0), (135, 185, 1)],
        groups=[(185, 225, (0, 1))],
        waits=[(135, 185, 0, 1)],
        breakdown={"attention": 100, "router": 20, "control": 15, "experts": 40, "stall_storage": 50},
    )


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
