"""Micro-scenarios A, B and C of the model's brief, and the frame around layers: steps, dense layers, prefill, batches.

Numbers unless said otherwise: attention 100, router 20, d2h_sync 10, lookup 5, issue 3, t0 4 (one piece), D 60, one
expert 30, two together 40, three 50; 60 bytes each. R is the lookup, F the tick at which the walk is over.
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
def a_two_hits_two_misses() -> tuple[Plan, Expect]:
    """A: set h1 m1 h2 m2 = 0 1 2 3, fifo.

    R = 100 + 20 + 10 + 5 = 135. m1 issued 138, link 138-202 (4 + 60); m2 issued 141, link 202-266. F = 141.
    Hits together 141-181; wait 181-202 = 21; m1 202-232; wait 232-266 = 34; m2 266-296.
    296 = 100 + 20 + control (15 + 2 * 3 = 21) + experts (40 + 30 + 30 = 100) + stall_link 55.
    """
    return small_plan([[[0, 1, 2, 3]]], initial=[0, 2]), Expect(
        layer_end=[[296]],
        hits=[[2]],
        late=[[0]],
        misses=[[2]],
        link=[(138, 202, 1), (202, 266, 3)],
        groups=[(141, 181, (0, 2)), (202, 232, (1,)), (266, 296, (3,))],
        waits=[(181, 202, 1, 0), (232, 266, 3, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 100, "stall_link": 55},
        residency=[[4]],
        step_bytes=[120],
        counters={
            "loads": 2, "bytes_loaded": 120, "link_busy": 128, "stream_busy": 220, "evictions": 0, "bytes_wasted": 0,
            "waits_for_bytes": 0, "overshoot_peak": 0, "bytes_read": 0, "storage_busy": 0,
        },
    )  # fmt: skip


@case
def b_promotion_in_service_and_cancellation() -> tuple[Plan, Expect]:
    """B: two_level, 3 chunks, wakeup 5; e = 0 and g = 2 predicted at tick 0 for this very layer; set f e = 1 0.

    e: P = 0, R' = 5, chunks at 5 + 4 + 20 = 29, 49, 69. R = 15 + 0 + 10 + 5 = 30: e late, in service, promoted, runs
    to its end 69; g cancelled in the queue, 0 bytes. f claims at 30, issued 33, F = 33; P = 69, R' = 74, end 74 + 64 =
    138.
    Wait 33-69 = 36, e 69-99, wait 99-138 = 39, f 138-168. 168 = 15 + control 18 + 60 + stall_link 75.
    """
    plan = small_plan(
        [[[1, 0]]], attention=15, router=0, discipline="two_level", chunks=3, wakeup=5, source="layer_start",
        script={(0, 0): [(0, 0, 0), (0, 0, 2)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[168]],
        hits=[[0]],
        late=[[1]],
        misses=[[1]],
        link=[(0, 69, 0), (69, 138, 1)],
        groups=[(69, 99, (0,)), (138, 168, (1,))],
        waits=[(33, 69, 0, 0), (99, 138, 1, 2)],
        breakdown={"attention": 15, "control": 18, "experts": 60, "stall_link": 75},
        residency=[[2]],
        counters={
            "prefetches": 2, "prefetch_used": 1, "prefetch_cancelled": 1, "prefetch_dropped": 0, "prefetch_stale": 0,
            "bytes_wasted": 0, "bytes_loaded": 120, "loads": 2, "link_busy": 138, "stream_busy": 75,
        },
    )  # fmt: skip


@case
def c_waves_through_a_small_cache() -> tuple[Plan, Expect]:
    """C: room for 2, holding {x = 4, a = 0}; set a b c d = 0 1 2 3; no control, no attention.

    a hit, 0-30. b takes x's place, link 0-64. c finds nothing evictable (a pinned, b loading), d waits behind it.
    30: a done, c takes its place, link 64-128. b 64-94. 94: d takes b's place, link 128-192. c 128-158. d 192-222.
    Waits 30-64 (34), 94-128 (34), 158-192 (34) = stall_link 102; experts 4 * 30 = 120; 222.
    """
    return small_plan([[[0, 1, 2, 3]]], slots=2, initial=[4, 0], **STILL), Expect(
        layer_end=[[222]],
        hits=[[1]],
        misses=[[3]],
        link=[(0, 64, 1), (64, 128, 2), (128, 192, 3)],
        groups=[(0, 30, (0,)), (64, 94, (1,)), (128, 158, (2,)), (192, 222, (3,))],
        waits=[(30, 64, 1, 0), (94, 128, 2, 1), (158, 192, 3, 2)],
        breakdown={"experts": 120, "stall_link": 102},
        residency=[[2]],
        counters={"evictions": 3, "waits_for_bytes": 2, "loads": 3, "link_busy": 192},
    )


@case
def c_leaves_the_last_two() -> tuple[Plan, Expect]:
    """C once more, then a step that wants c d: both are there. Hits together 222-262."""
    return small_plan([[[0, 1, 2, 3]], [[2, 3]]], slots=2, initial=[4, 0], **STILL), Expect(
        layer_end=[[222], [262]], hits=[[1], [2]], misses=[[3], [0]], residency=[[2], [2]]
    )


@case
def dense_layer_between() -> tuple[Plan, Expect]:
    """MoE, dense, MoE. The dense layer runs attention 100 and its own 50: no router, no control.

    Layer 0: R = 135, issued 138, link 138-202, 202-232. Layer 1: 232 + 100 + 50 = 382. Layer 2: R = 517, issued 520,
    link 520-584, one expert of class 1 costs 55: 584-639. Sum 639 = 300 + 2 * 20 + control 2 * 18 + 85 + 50 + 2 * 64.
    """
    plan = small_plan(
        [[[0], [], [0]]], moe=[True, False, True], dense=50, group=[lambda p, d: 30, lambda p, d: 55],
        group_class=[0, 0, 1],
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[232, 382, 639]],
        misses=[[1, 0, 1]],
        link=[(138, 202, 0), (520, 584, 0)],
        waits=[(138, 202, 0, 0), (520, 584, 0, 1)],
        breakdown={"attention": 300, "router": 40, "control": 36, "experts": 85, "dense": 50, "stall_link": 128},
        residency=[[1, 0, 1]],
        counters={"stream_busy": 475},
    )


@case
def head_and_host_gap_between_two_batches() -> tuple[Plan, Expect]:
    """Two batches of one step; head 11 and 12, host gap 7 and 8; the cache stays warm.

    Step 0: miss, 138-202, compute -232, head -243, gap -250. Step 1 starts at 250: R = 385, hit 385-415, head -427,
    gap -435. The gap keeps the stream idle.
    """
    plan = small_plan([[[0]], [[0]]], head=[11, 12], gap=[7, 8], batches=[0, 1])
    return plan, Expect(
        layer_end=[[232], [415]],
        step_end=[250, 435],
        hits=[[0], [1]],
        misses=[[1], [0]],
        breakdown={
            "attention": 200, "router": 40, "control": 33, "experts": 60, "head": 23, "host_gap": 15, "stall_link": 64,
        },
        counters={"stream_busy": 200 + 40 + 60 + 23},
    )  # fmt: skip


@case
def prefill_pairs_and_pruned_layer() -> tuple[Plan, Expect]:
    """Two prefill chunks; one launch costs 10 per pair + 20 per expert; the last layer sees the last token only.

    Chunk 0, layer 0, tokens 01 01 02: expert 0 has 3 pairs, 1 has 2, 2 has 1. R = 135, issued 138 141 144, F = 144;
    link 138-202-266-330; 0: 30 + 20 = 50, 202-252; 1: 20 + 20 = 40, 266-306; 2: 10 + 20 = 30, 330-360.
    Layer 1 is empty: attention alone, 460; no router, no lookup.
    Chunk 1, layer 0, tokens 01 21: all hits at R = 595; 4 pairs, 3 experts: 40 + 60 = 100, 595-695.
    Layer 1, one token 3 0: R = 830; issued 833 836; F = 836; link 833-897-961; each 30: 897-927, 961-991.
    """
    plan = small_plan(
        [[[[0, 1], [0, 1], [0, 2]], []], [[[0, 1], [2, 1]], [[3, 0]]]], prefill=[True, True],
        group=lambda pairs, distinct: 10 * pairs + 20 * distinct,
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[360, 460], [695, 991]],
        hits=[[0, 0], [3, 0]],
        misses=[[3, 0], [0, 2]],
        link=[(138, 202, 0), (202, 266, 1), (266, 330, 2), (833, 897, 3), (897, 961, 0)],
        groups=[
            (202, 252, (0,)), (266, 306, (1,)), (330, 360, (2,)), (595, 695, (0, 1, 2)), (897, 927, (3,)),
            (961, 991, (0,)),
        ],
        breakdown={
            "attention": 400, "router": 60, "control": 24 + 15 + 21, "experts": 120 + 100 + 60,
            "stall_link": 58 + 14 + 24 + 61 + 34,
        },
        counters={"lookups": 8},
    )  # fmt: skip


@case
def pinned_layer_without_control() -> tuple[Plan, Expect]:
    """Layer 1 lies on the device for good, outside the caches, and costs no control.

    Layer 0: 138-202-232. Layer 1: 232 + 120 = 352 = R = F; hit 352-382. Its two experts count as resident.
    """
    plan = small_plan([[[0], [1]]], d2h=[10, 0], lookup=[5, 0], issue=[3, 0], capacity=[60, 0], pinned=[(1, 0), (1, 1)])
    return plan, Expect(
        layer_end=[[232, 382]],
        hits=[[0, 1]],
        misses=[[1, 0]],
        breakdown={"attention": 200, "router": 40, "control": 18, "experts": 60, "stall_link": 64},
        residency=[[1, 2]],
    )


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
