"""Micro-scenarios of caches, claims and waiting loads (rules 4, 5 and 13).

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
def zero_size_cache_serves_through_two_slots() -> tuple[Plan, Expect]:
    """Capacity 0, two staging slots, set 0 1 2, then a step with 0 again.

    0 takes a slot at 135, issued 138; 1 a slot at 138, issued 141; 2 finds none and waits; F = 141. Link 138-202-266.
    0 202-232, then its slot is free: 2 issued 232, link 266-330. 1 266-296; 2 330-360.
    Waits 61 + 34 + 34 = 129. Step 1: nothing stayed: R = 495, issued 498, link -562, 0 562-592.
    """
    plan = small_plan([[[0, 1, 2]], [[0]]], capacity=0)
    return plan, Expect(
        layer_end=[[360], [592]],
        misses=[[3], [1]],
        link=[(138, 202, 0), (202, 266, 1), (266, 330, 2), (498, 562, 0)],
        groups=[(202, 232, (0,)), (266, 296, (1,)), (330, 360, (2,)), (562, 592, (0,))],
        waits=[(141, 202, 0, 0), (232, 266, 1, 1), (296, 330, 2, 2), (498, 562, 0, 3)],
        breakdown={"attention": 200, "router": 40, "control": 21 + 18, "experts": 120, "stall_link": 129 + 64},
        residency=[[0], [0]],
        counters={"evictions": 0, "waits_for_bytes": 1, "loads": 4, "overshoot_peak": 0},
    )


@case
def slots_per_layer_do_not_help_each_other() -> tuple[Plan, Expect]:
    """Layer 0 has room for one expert, layer 1 for two; no control; sets (0, 0), (1, 1), (0, 0).

    Step 0: 0-64-94, 94-158-188. Step 1: 1 pushes 0 out of layer 0: 188-252-282; layer 1 keeps both: 282-346-376.
    Step 2: layer 0 misses again (1 leaves): 376-440-470; layer 1 hits: 470-500.
    """
    plan = small_plan([[[0], [0]], [[1], [1]], [[0], [0]]], capacity=[60, 120], **STILL)
    return plan, Expect(
        layer_end=[[94, 188], [282, 376], [470, 500]],
        hits=[[0, 0], [0, 0], [0, 1]],
        residency=[[1, 1], [1, 2], [1, 2]],
        counters={"evictions": 2, "loads": 5},
    )


@case
def global_cache_shares_its_bytes() -> tuple[Plan, Expect]:
    """One cache of 120 bytes for both layers, no control; sets (0, 0), (1, 0), (0, 0): least recent of all leaves.

    Step 0: (0,0) 0-64-94, (1,0) 94-158-188. Step 1: (0,1) pushes (0,0) out: 188-252-282; (1,0) hits 282-312.
    Step 2: (0,0) pushes (0,1) out: 312-376-406; (1,0) hits 406-436.
    """
    plan = small_plan([[[0], [0]], [[1], [0]], [[0], [0]]], capacity=("global", 120), **STILL)
    return plan, Expect(
        layer_end=[[94, 188], [282, 312], [406, 436]],
        hits=[[0, 0], [0, 1], [0, 1]],
        residency=[[1, 1], [1, 1], [1, 1]],
        counters={"evictions": 2},
    )


@case
def oversize_expert_never_enters() -> tuple[Plan, Expect]:
    """One cache of 90 bytes; layer 0 experts 30 bytes (D 30), layer 1 experts 100 bytes: these go through a slot.

    Layer 0: issued 138 141; link 34 each: 138-172-206; 0 172-202; wait; 1 206-236.
    Layer 1: R = 371, issued 374, link -438, 438-468; nobody is evicted for it.
    Step 1: both of layer 0 hit at R = 603: 603-643. Layer 1 misses again: R = 778, issued 781, -845, 845-875.
    """
    plan = small_plan([[[0, 1], [0]], [[0, 1], [0]]], expert_bytes=[30, 100], D=[30, 60], capacity=("global", 90))
    return plan, Expect(
        layer_end=[[236, 468], [643, 875]],
        hits=[[0, 0], [2, 0]],
        misses=[[2, 1], [0, 1]],
        link=[(138, 172, 0), (172, 206, 1), (374, 438, 0), (781, 845, 0)],
        residency=[[2, 0], [2, 0]],
        counters={"evictions": 0, "bytes_loaded": 260, "waits_for_bytes": 0},
    )


@case
def waiting_load_pays_no_issue_time() -> tuple[Plan, Expect]:
    """Room for one, set 0 1: 0 claims 135, issued 138, link -202; 1 waits; F = 138. 0 202-232; at 232 1 takes its place
    and is issued at once: link 232-296, 296-326. Control 10 + 5 + one issue 3 = 18. Sum 120 + 18 + 60 + 64 + 64.
    """
    return small_plan([[[0, 1]]], slots=1), Expect(
        layer_end=[[326]],
        link=[(138, 202, 0), (232, 296, 1)],
        waits=[(138, 202, 0, 0), (232, 296, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 18, "experts": 60, "stall_link": 128},
        residency=[[1]],
        counters={"evictions": 1, "waits_for_bytes": 1},
    )


@case
def demand_waits_for_a_prefetch_to_arrive() -> tuple[Plan, Expect]:
    """Room for one, D 200, fifo. At tick 0 expert 1 is predicted (wrongly) for this layer.

    It holds the only place while it loads, 0-204. R = 135: 0 cannot claim and waits; F = 135.

    204: 1 arrives, resident, evictable: 0 takes its place (60 bytes wasted), issued 204, link 204-408; 408-438.
    The wait 135-408 is cut at the issue: 69 for the cache, 204 for the link. 438 = 120 + 15 + 69 + 204 + 30.
    """
    plan = small_plan([[[0]]], slots=1, D=200, source="layer_start", script={(0, 0): [(0, 0, 1)]})
    return plan, Expect(
        layer_end=[[438]],
        link=[(0, 204, 1), (204, 408, 0)],
        waits=[(135, 408, 0, 1)],
        breakdown={
            "attention": 100, "router": 20, "control": 15, "experts": 30, "stall_cache": 69, "stall_link": 204,
        },
        residency=[[1]],
        counters={
            "evictions": 1, "waits_for_bytes": 1, "bytes_wasted": 60, "bytes_loaded": 120, "loads": 2, "prefetches": 1,
            "prefetch_used": 0,
        },
    )  # fmt: skip


@case
def after_layer_overshoots_and_trims() -> tuple[Plan, Expect]:
    """Room for 2 holding {3, 4}, set 0 1 2, after_layer, 5 per victim (on the link, but the trim is charged here).

    All claim at once, no victim: 5 * 60 = 300 in 120: overshoot 180. Issued 138 141 144, F = 144, link 138-202-266-330;
    202-232, 266-296, 330-360. Trim: 3 and 4 leave, the set is spared, 180 stay; management 2 * 5: 360-370.
    Step 1, set 0: R = 505, hit -535; trim: 1 is least recent and leaves (120 stay), 2 stays; management 5: 540.
    """
    plan = small_plan(
        [[[0, 1, 2]], [[0]]], slots=2, initial=[3, 4], evict="after_layer", evict_overhead=5, overhead_on="link"
    )
    return plan, Expect(
        layer_end=[[370], [540]],
        hits=[[0], [1]],
        link=[(138, 202, 0), (202, 266, 1), (266, 330, 2)],
        breakdown={
            "attention": 200, "router": 40, "control": 24 + 15, "experts": 120, "stall_link": 58 + 34 + 34,
            "management": 15,
        },
        residency=[[3], [2]],
        counters={"evictions": 3, "overshoot_peak": 180, "waits_for_bytes": 0, "stream_busy": 200 + 40 + 120 + 15},
    )  # fmt: skip


def _prefetch_while_the_layer_runs(**how: str) -> Plan:
    """Global room for 2 with (0,0) and (0,1); layer 0 runs them one by one 135-165-195; at 175 (1,2) is predicted."""
    return small_plan(
        [[[0, 1], [2]]], capacity=("global", 120), initial=[(0, 0), (0, 1)], grouping="each", t_pred=40,
        script={(0, 0): [(0, 1, 2)]}, **how,
    )  # type: ignore[arg-type]  # fmt: skip


@case
def after_layer_prefetch_spares_the_current_set() -> tuple[Plan, Expect]:
    """At 175 expert 0 is computed and unpinned, but a member of the current set: the prefetch finds no victim, dropped.

    Layer 1: R = 195 + 135 = 330, miss, claims beyond the capacity (overshoot 60), issued 333, -397, -427. Trim: (0,0),
    least recent, leaves.
    """
    return _prefetch_while_the_layer_runs(evict="after_layer"), Expect(
        layer_end=[[195, 427]],
        misses=[[0, 1]],
        link=[(333, 397, 2)],
        residency=[[1, 1]],
        counters={"prefetches": 0, "prefetch_dropped": 1, "evictions": 1, "overshoot_peak": 60},
    )


@case
def on_claim_prefetch_takes_the_computed_one() -> tuple[Plan, Expect]:
    """The same under on_claim: (0,0) leaves at 175, link 175-239; layer 1 hits at 330: 330-360."""
    return _prefetch_while_the_layer_runs(evict="on_claim"), Expect(
        layer_end=[[195, 360]],
        hits=[[2, 1]],
        link=[(175, 239, 2)],
        residency=[[1, 1]],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_dropped": 0, "evictions": 1, "overshoot_peak": 0},
    )


@case
def reset_at_the_end_of_a_batch() -> tuple[Plan, Expect]:
    """Room for 2, initially {0}; batch 0 wants 1, batch 1 wants 0 1; reset = sequence; no control.

    Step 0: 1 0-64-94. Reset: 0 and 1 leave, 0 enters again. Step 1: 0 hit 94-124; 1 missed again, link 94-158, -188.
    No eviction is counted.
    """
    plan = small_plan([[[1]], [[0, 1]]], slots=2, initial=[0], batches=[0, 1], reset="sequence", **STILL)
    return plan, Expect(
        layer_end=[[94], [188]],
        hits=[[0], [1]],
        misses=[[1], [1]],
        link=[(0, 64, 1), (94, 158, 1)],
        counters={"evictions": 0, "loads": 2},
    )


@case
def without_reset_the_second_batch_is_warm() -> tuple[Plan, Expect]:
    """The same without reset: both hit, 94-134."""
    plan = small_plan([[[1]], [[0, 1]]], slots=2, initial=[0], batches=[0, 1], **STILL)
    return plan, Expect(layer_end=[[94], [134]], hits=[[0], [2]], residency=[[2], [2]])


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
