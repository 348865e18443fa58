"""Micro-scenarios of who leaves (rule 4, eviction orders).

Numbers unless said otherwise: attention 100, router 20, d2h_sync 10, lookup 5, issue 3, t0 4 (one piece), D 60, one
expert 30, two together 40, three 50; 60 bytes each. R = 135 is the lookup of a layer that starts at 0, F the tick at
which the walk is over. "No control" (STILL): R = F = the layer's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moesim.plan.plan import Plan, PolicyPlan
from moesim.results.result import Result
from tests.support.micro import STILL, Cases, Expect, check
from tests.support.plans import small_plan

case = Cases()


def _row(policy: str | PolicyPlan, experts: list[int], **more: Any) -> Plan:
    """Steps of one expert each, one layer, no control, room for two: a hit takes 30, a miss 4 + 60 + 30 = 94."""
    return small_plan([[[e]] for e in experts], eviction=policy, slots=2, **{**STILL, **more})


def _ends(hits: str) -> list[list[int]]:
    """Ends of such steps from a word of h and m."""
    ends, now = [], 0
    for letter in hits:
        now += 30 if letter == "h" else 94
        ends.append([now])
    return ends


@case
def lru_victim() -> tuple[Plan, Expect]:
    """0m 1m 0h, then 2 pushes out 1 (least recent): {0, 2}; 0h; 1m pushes out 2.

    Ends 94, 188, 218, 312, 342, 436.
    """
    return _row("lru", [0, 1, 0, 2, 0, 1]), Expect(
        layer_end=[[94], [188], [218], [312], [342], [436]],
        counters={"hits": 2, "misses": 4, "evictions": 2},
        residency=[[1], [2], [2], [2], [2], [2]],
    )


@case
def fifo_victim() -> tuple[Plan, Expect]:
    """The same row under fifo: 2 pushes out 0 (first in): {1, 2}; 0m pushes out 1; 1m pushes out 2."""
    return _row("fifo", [0, 1, 0, 2, 0, 1]), Expect(
        layer_end=[[94], [188], [218], [312], [406], [500]], counters={"hits": 1, "misses": 5, "evictions": 3}
    )


@case
def lfu_victim() -> tuple[Plan, Expect]:
    """0m 0h 1m: counts 0:2, 1:1. 2 pushes out 1 (lru would take 0): {0:2, 2:1}. 1 pushes out 2: {0:2, 1:1}, its count
    starts anew. 2 pushes out 1 again: {0:2, 2:1}. 1m. Word m h m m m m m: 94 124 218 312 406 500 594.
    """
    return _row("lfu", [0, 0, 1, 2, 1, 2, 1]), Expect(
        layer_end=[[94], [124], [218], [312], [406], [500], [594]], counters={"hits": 1, "evictions": 4}
    )


@case
def lfu_lifetime_victim() -> tuple[Plan, Expect]:
    """The same row, counts survive: when 2 comes the second time, 0 has 2 and 1 has 2: recency decides, 0 leaves.

    {1, 2}: then 1 hits: 94 124 218 312 406 500 530.
    """
    return _row("lfu-lifetime", [0, 0, 1, 2, 1, 2, 1]), Expect(
        layer_end=[[94], [124], [218], [312], [406], [500], [530]], counters={"hits": 2, "evictions": 3}
    )


@case
def lfu_tie_goes_to_the_least_recent() -> tuple[Plan, Expect]:
    """1m 0m: one lookup each. 2 pushes out 1, the least recent, not the smaller id: 0 hits then."""
    return _row("lfu", [1, 0, 2, 0]), Expect(layer_end=_ends("mmmh"), counters={"evictions": 1})


@case
def lfu_prefetched_enters_with_zero() -> tuple[Plan, Expect]:
    """0 (initial) is looked up once at tick 0; 1 is prefetched 0-64 (predicted at the lookup of step 0 for step 1).

    Host gap 100: step 0 ends 30 + 100 = 130. Step 1 wants 2: 1 has frequency 0 and leaves (lru would take 0, looked up
    before 1 arrived): link 130-194-224, gap 324. Step 2: 0 hits: 354, gap 454.
    """
    plan = _row("lfu", [0, 2, 0], initial=[0], gap=100, script={(0, 0): [(1, 0, 1)]})
    return plan, Expect(
        layer_end=[[30], [224], [354]],
        step_end=[130, 324, 454],
        link=[(0, 64, 1), (130, 194, 2)],
        counters={"hits": 2, "evictions": 1, "bytes_wasted": 60, "prefetches": 1, "prefetch_used": 0},
    )


@case
def lru_prefetched_enters_at_arrival() -> tuple[Plan, Expect]:
    """The same under lru: 0 (tick 0) is older than 1 (arrival 64) and leaves.

    Step 2 misses 0 at 324, -388-418, gap 518; it pushes out 1, never used.
    """
    plan = _row("lru", [0, 2, 0], initial=[0], gap=100, script={(0, 0): [(1, 0, 1)]})
    return plan, Expect(
        layer_end=[[30], [224], [418]],
        step_end=[130, 324, 518],
        link=[(0, 64, 1), (130, 194, 2), (324, 388, 0)],
        counters={"hits": 1, "evictions": 2, "bytes_wasted": 60},
    )


@case
def recency_is_set_at_the_lookup_of_a_miss() -> tuple[Plan, Expect]:
    """Initially {3, 0}; set 1 0: 1 misses (3 leaves), its clock ticks before 0's though it arrives later (64).

    Step 0: 0 0-30, 1 64-94. Step 1: 2 pushes out 1: 94-158-188. Step 2: 0 hits: 218.
    """
    plan = small_plan([[[1, 0]], [[2]], [[0]]], slots=2, initial=[3, 0], **STILL)
    return plan, Expect(layer_end=[[94], [188], [218]], hits=[[1], [0], [1]], counters={"evictions": 2})


@case
def a_further_pick_renews_recency_only() -> tuple[Plan, Expect]:
    """Tokens {0, 1} and {2, 0}: the set is 0 1 2 by first pick, but 0 is picked again last, so recency is 1 2 0.

    Room for three, all hits: one group of three, 0-50 (four pairs, three lookups). Then 3 pushes out 1 (by first
    picks it would be 0): 50-114, computed -144; then 0 hits: -174.
    """
    return small_plan(
        [[[[0, 1], [2, 0]]], [[3]], [[0]]], initial=[0, 1, 2], slots=3, group=lambda pairs, n: 20 + 10 * n, **STILL
    ), Expect(
        layer_end=[[50], [144], [174]],
        hits=[[3], [0], [1]],
        misses=[[0], [1], [0]],
        counters={"lookups": 5, "evictions": 1},
    )


@case
def random_victim() -> tuple[Plan, Expect]:
    """Seed 1, five experts, initially {0, 1}; u(a) = draw(1, "eviction", s, 0, e, a) mod 5, a = 0 1 2 ...

    Step 0, e = 2: 3, 4, 0: 0 leaves, {1, 2}. Step 1, e = 3: 3 (not resident yet), 2: 2 leaves, {1, 3} (lru would take
    1). Step 2: 1 hits. Step 3, e = 2: 1 leaves. Step 4: 3 hits. Word m m h m h.
    """
    return _row("random", [2, 3, 1, 2, 3], n_experts=5, initial=[0, 1]), Expect(
        layer_end=[[94], [188], [218], [312], [342]], counters={"hits": 2, "evictions": 3}
    )


@case
def random_trim() -> tuple[Plan, Expect]:
    """Six experts, room for 3 holding {0, 1, 2}, after_layer; draws of a trim use e = 0: step 0: 0 5 2 3 1 ..., step 2:
    2 5 ... (mod 6, seed 1).

    Step 0, set 4 5: link 0-64-128; 64-94, 128-158. Trim from 5 to 3 members: 0 leaves, 5 is spared, 2 leaves: {1, 4, 5}
    (lru would take 0 and 1). Step 1: 1 hits 188; nothing to trim. Step 2: 2 188-252-282; trim: 2 spared, 5 leaves.
    Step 3: 4 hits: 312.
    """
    plan = small_plan(
        [[[4, 5]], [[1]], [[2]], [[4]]], slots=3, initial=[0, 1, 2], eviction="random", evict="after_layer", **STILL
    )
    return plan, Expect(
        layer_end=[[158], [188], [282], [312]],
        hits=[[0], [1], [0], [1]],
        residency=[[3], [3], [3], [3]],
        counters={"evictions": 3, "overshoot_peak": 120},
    )


@case
def belady_victim() -> tuple[Plan, Expect]:
    """0 1 2 0 1 0: when 2 comes, 0 is next at position 3 and 1 at 4: 1 leaves. 0h.

    When 1 comes, 2 is never wanted again and leaves. 0h. Word m m m h m h (lru: m m m m m h).
    """
    return _row("belady", [0, 1, 2, 0, 1, 0]), Expect(
        layer_end=[[94], [188], [282], [312], [406], [436]], counters={"hits": 2, "evictions": 2}
    )


@case
def belady_looks_across_layers() -> tuple[Plan, Expect]:
    """One cache for two layers, room for 2. Position = step * 2 + layer. Sets (0, 0), (1, 0), (0, 0).

    Step 0: (0,0) 94, (1,0) 188. Position 2 wants (0,1): (1,0) is next at 3, (0,0) at 4: (0,0) leaves, 282. Position 3:
    (1,0) hits 312. Position 4 wants (0,0): (0,1) never again, leaves: 406. Position 5: (1,0) hits 436.
    """
    plan = small_plan([[[0], [0]], [[1], [0]], [[0], [0]]], capacity=("global", 120), eviction="belady", **STILL)
    return plan, Expect(layer_end=[[94, 188], [282, 312], [406, 436]], counters={"evictions": 2, "hits": 2})


@case
def static_admits_nobody() -> tuple[Plan, Expect]:
    """Initially {0}, room for 2, two staging slots: 0h 30; 1m 124; 1m again 218; only 0 is ever resident.

    The last step wants 1 2 3 at 218: 1 and 2 take the slots, link 218-282-346; 3 waits. 1 282-312, its slot is free: 3
    issued 312, link 346-410. 2 346-376; 3 410-440. A prefetch of 2 (predicted at 0 for step 1) is dropped.
    """
    plan = small_plan(
        [[[0]], [[1]], [[1]], [[1, 2, 3]]],
        slots=2,
        initial=[0],
        eviction="static",
        script={(0, 0): [(1, 0, 2)]},
        **STILL,
    )
    return plan, Expect(
        layer_end=[[30], [124], [218], [440]],
        hits=[[1], [0], [0], [0]],
        link=[(30, 94, 1), (124, 188, 1), (218, 282, 1), (282, 346, 2), (346, 410, 3)],
        groups=[(0, 30, (0,)), (94, 124, (1,)), (188, 218, (1,)), (282, 312, (1,)), (346, 376, (2,)), (410, 440, (3,))],
        residency=[[1], [1], [1], [1]],
        counters={"evictions": 0, "waits_for_bytes": 1, "prefetches": 0, "prefetch_dropped": 1},
    )


@case
def pinned_by_placement_is_outside_the_cache() -> tuple[Plan, Expect]:
    """Room for one; 0 pinned by placement. 0h 1m 0h 1h: 0 takes no bytes and is never a victim: 30 124 154 184."""
    plan = small_plan([[[0]], [[1]], [[0]], [[1]]], slots=1, pinned=[(0, 0)], **STILL)
    return plan, Expect(
        layer_end=[[30], [124], [154], [184]], residency=[[1], [2], [2], [2]], counters={"evictions": 0, "hits": 3}
    )


@case
def touched_on_predict() -> tuple[Plan, Expect]:
    """Initially {1, 0}. Step 0: 0 hits; 1, resident, is predicted for step 2: touched after 0. Step 1: 2 pushes out 0.
    Step 2: 1 hits. Word h m h.
    """
    plan = _row("lru", [0, 2, 1], initial=[1, 0], script={(0, 0): [(2, 0, 1)]}, touch_on_predict=True)
    return plan, Expect(layer_end=[[30], [124], [154]], counters={"prefetches": 0, "evictions": 1})


@case
def not_touched_on_predict() -> tuple[Plan, Expect]:
    """The same without touching: 2 pushes out 1, step 2 misses it. Word h m m."""
    plan = _row("lru", [0, 2, 1], initial=[1, 0], script={(0, 0): [(2, 0, 1)]})
    return plan, Expect(layer_end=[[30], [124], [218]], counters={"prefetches": 0, "evictions": 2})


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
