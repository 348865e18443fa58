"""Micro-scenarios of prefetching into the cache under fifo (rule 8) and of the end of a run (rule 1).

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
def late_under_fifo_keeps_its_place() -> tuple[Plan, Expect]:
    """D 100. At tick 0 predicted for this layer: 1, 2, 0: link 0-104-208-312. R = 135, set 0 3: 0 is late, stays third.

    3 misses, issued 138, F = 138, link 312-416. Wait -312, 0 -342, wait -416, 3 -446. 1 and 2 arrive, resident, unused.
    446 = 120 + 18 + 60 + 174 + 74.
    """
    plan = small_plan([[[0, 3]]], D=100, source="layer_start", script={(0, 0): [(0, 0, 1), (0, 0, 2), (0, 0, 0)]})
    return plan, Expect(
        layer_end=[[446]],
        hits=[[0]],
        late=[[1]],
        misses=[[1]],
        link=[(0, 104, 1), (104, 208, 2), (208, 312, 0), (312, 416, 3)],
        waits=[(138, 312, 0, 2), (342, 416, 3, 3)],
        breakdown={"attention": 100, "router": 20, "control": 18, "experts": 60, "stall_link": 248},
        residency=[[4]],
        counters={
            "prefetches": 3, "prefetch_used": 1, "prefetch_cancelled": 0, "bytes_wasted": 120, "bytes_loaded": 240,
            "loads": 4,
        },
    )  # fmt: skip


@case
def demand_queues_behind_a_prefetch() -> tuple[Plan, Expect]:
    """fifo, D 200. (0,1,1) predicted at tick 0: link 0-204. 0 issued 138, link 204-408, 408-438. Wait 138-408 = 270.

    Layer 1: R = 438 + 135 = 573, hit, 573-603.
    """
    plan = small_plan([[[0], [1]]], D=200, source="layer_start", script={(0, 0): [(0, 1, 1)]})
    return plan, Expect(
        layer_end=[[438, 603]],
        hits=[[0, 1]],
        link=[(0, 204, 1), (204, 408, 0)],
        waits=[(138, 408, 0, 1)],
        breakdown={"attention": 200, "router": 40, "control": 33, "experts": 60, "stall_link": 270},
        counters={"prefetch_used": 1, "bytes_wasted": 0},
    )


@case
def prediction_at_the_lookup_comes_after_its_demand() -> tuple[Plan, Expect]:
    """Source lookup: R = 135 lies in the walk 135-138: issued at 138 after the load of 0: link 138-202, then 202-266.

    0 202-232. Layer 1: R = 367, hit, 397.
    """
    plan = small_plan([[[0], [1]]], script={(0, 0): [(0, 1, 1)]})
    return plan, Expect(layer_end=[[232, 397]], hits=[[0, 1]], link=[(138, 202, 0), (202, 266, 1)])


@case
def prediction_due_in_a_walk_is_issued_at_its_end() -> tuple[Plan, Expect]:
    """Source layer_start + 137 = 137, the walk of 0 1 2 lasts 135-144: issued at F = 144, behind all three loads.

    Link 138-202-266-330, then (0,1,0) 330-394. 202-232, 266-296, 330-360. Layer 1: R = 495, hit, 525.
    """
    plan = small_plan([[[0, 1, 2], [0]]], t_pred=137, source="layer_start", script={(0, 0): [(0, 1, 0)]})
    return plan, Expect(
        layer_end=[[360, 525]],
        hits=[[0, 1]],
        link=[(138, 202, 0), (202, 266, 1), (266, 330, 2), (330, 394, 0)],
    )


@case
def prefetch_without_victim_is_dropped() -> tuple[Plan, Expect]:
    """One cache for both layers, room for one: (0,0), hit and pinned at 135. The prefetch at F = 135 finds no victim.

    0 135-165. Layer 1: R = 300, miss, takes (0,0)'s place, issued 303, -367, -397.
    """
    plan = small_plan([[[0], [1]]], capacity=("global", 60), initial=[(0, 0)], script={(0, 0): [(0, 1, 1)]})
    return plan, Expect(
        layer_end=[[165, 397]],
        misses=[[0, 1]],
        link=[(303, 367, 1)],
        counters={"prefetches": 0, "prefetch_dropped": 1, "evictions": 1},
    )


@case
def t_pred_waits_for_the_victim() -> tuple[Plan, Expect]:
    """The same, 40 later: at 175 (0,0) is computed and unpinned: it leaves, link 175-239; hit at 300, 300-330."""
    plan = small_plan([[[0], [1]]], capacity=("global", 60), initial=[(0, 0)], script={(0, 0): [(0, 1, 1)]}, t_pred=40)
    return plan, Expect(
        layer_end=[[165, 330]],
        hits=[[1, 1]],
        link=[(175, 239, 1)],
        residency=[[0, 1]],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_dropped": 0, "evictions": 1},
    )


@case
def prefetch_is_dropped_while_loads_wait() -> tuple[Plan, Expect]:
    """One cache of 100 bytes; layer 0 experts 60 bytes (D 60), layer 1 experts 30 (D 30). Set 0 1.

    0 claims 60, 1 waits. F = 138: the prefetch of a 30 byte expert would fit into the free 40, but a load waits.
    Dropped. 0: link 138-202, -232; 1 takes its place, link 232-296, -326.
    Layer 1: R = 461, issued 464, link 34 -498, -528.
    """
    plan = small_plan(
        [[[0, 1], [0]]], expert_bytes=[60, 30], D=[60, 30], capacity=("global", 100), script={(0, 0): [(0, 1, 0)]}
    )
    return plan, Expect(
        layer_end=[[326, 528]],
        misses=[[2, 1]],
        link=[(138, 202, 0), (232, 296, 1), (464, 498, 0)],
        breakdown={"attention": 200, "router": 40, "control": 36, "experts": 90, "stall_link": 162},
        residency=[[1, 1]],
        counters={"prefetches": 0, "prefetch_dropped": 1, "waits_for_bytes": 1, "evictions": 1},
    )


def _late_prediction(t_pred: int) -> Plan:
    """0 hits at 135; layer 1 is looked up at 165 + 135 = 300; (0,1,1) is predicted at 135 + t_pred."""
    return small_plan([[[0], [1]]], initial=[(0, 0)], t_pred=t_pred, script={(0, 0): [(0, 1, 1)]})


@case
def stale_prediction() -> tuple[Plan, Expect]:
    """At 335 the target's lookup (300) has happened: stale. 1 was missed: issued 303, -367, -397."""
    return _late_prediction(200), Expect(
        layer_end=[[165, 397]],
        misses=[[0, 1]],
        link=[(303, 367, 1)],
        counters={"prefetches": 0, "prefetch_stale": 1, "prefetch_dropped": 0},
    )


@case
def stale_at_the_very_tick() -> tuple[Plan, Expect]:
    """Due at 300, the lookup's own tick: lookups (phase 4) come before predictions (phase 5): stale."""
    return _late_prediction(165), Expect(layer_end=[[165, 397]], counters={"prefetches": 0, "prefetch_stale": 1})


@case
def one_tick_earlier_it_is_late() -> tuple[Plan, Expect]:
    """Due at 299: link 299-363; late at 300, F = 300 (no load in the walk): wait 63, 363-393."""
    return _late_prediction(164), Expect(
        layer_end=[[165, 393]],
        late=[[0, 1]],
        link=[(299, 363, 1)],
        waits=[(300, 363, 1, 0)],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_stale": 0},
    )


@case
def present_predictions_move_nothing() -> tuple[Plan, Expect]:
    """Predicted for layer 1: 1 (absent: a prefetch), 1 again (in flight), 2 (resident), 0 (pinned): one transfer.

    0 135-165; link 135-199; layer 1 hits at 300, -330.
    """
    plan = small_plan(
        [[[0], [1]]], initial=[(0, 0), (1, 2)], pinned=[(1, 0)],
        script={(0, 0): [(0, 1, 1), (0, 1, 1), (0, 1, 2), (0, 1, 0)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 330]],
        link=[(135, 199, 1)],
        residency=[[1, 3]],
        counters={"prefetches": 1, "prefetch_dropped": 0, "prefetch_stale": 0, "prefetch_used": 1},
    )


def _cut(one: int) -> Plan:
    """A wrong prefetch from tick 0 in chunks that end at 24, 44, 64; the only expert computes 10 to 10 + one = T."""
    return small_plan(
        [[[0]]], initial=[0], **{**STILL, "attention": 10}, one=one, chunks=3, source="layer_start",
        script={(0, 0): [(0, 0, 1)]},
    )  # fmt: skip


@case
def end_of_run_cuts_a_transfer() -> tuple[Plan, Expect]:
    """T = 40: one chunk (24) has ended: 20 bytes, all wasted; the link was busy for 40."""
    return _cut(30), Expect(
        layer_end=[[40]],
        residency=[[1]],
        counters={"loads": 0, "bytes_loaded": 20, "bytes_wasted": 20, "link_busy": 40, "prefetches": 1},
    )


@case
def chunk_that_ends_with_the_run_counts() -> tuple[Plan, Expect]:
    """T = 44: two chunks, 40 bytes."""
    return _cut(34), Expect(
        layer_end=[[44]], counters={"loads": 0, "bytes_loaded": 40, "bytes_wasted": 40, "link_busy": 44}
    )


@case
def transfer_that_ends_with_the_run_arrives() -> tuple[Plan, Expect]:
    """T = 64: transfer ends (phase 2) come before the end of the step (phase 3): it is resident, and wasted."""
    return _cut(54), Expect(
        layer_end=[[64]],
        residency=[[2]],
        counters={"loads": 1, "bytes_loaded": 60, "bytes_wasted": 60, "link_busy": 64},
    )


def _previous(batches: list[int]) -> Plan:
    """Room for one in each layer; sets (0, 01) and (0, 0)."""
    return small_plan([[[0], [0, 1]], [[0], [0]]], slots=1, prefetch="previous", batches=batches)


@case
def previous_fetches_the_last_set_in_its_order() -> tuple[Plan, Expect]:
    """Step 0, layer 0: issued 138, -202, -232. Layer 1: R = 367, 0 issued 370, 1 waits; -434, -464; 1: -528, -558.

    At the lookup of (0,1) the set of layer 0 is predicted for step 1: resident. Step 1: R = 693, hit -723; predicted
    for layer 1: 0 (pushes out 1, link 693-757), then 1: nothing evictable, dropped. Layer 1: R = 858, hit, 888.
    """
    return _previous([0, 0]), Expect(
        layer_end=[[232, 558], [723, 888]],
        hits=[[0, 0], [1, 1]],
        link=[(138, 202, 0), (370, 434, 0), (464, 528, 1), (693, 757, 0)],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_dropped": 1, "evictions": 2},
    )


@case
def previous_does_not_cross_batches() -> tuple[Plan, Expect]:
    """Step 1 belongs to another batch: nothing is predicted; layer 1 misses at 858: issued 861, -925, -955."""
    return _previous([0, 1]), Expect(
        layer_end=[[232, 558], [723, 955]],
        hits=[[0, 0], [1, 0]],
        counters={"prefetches": 0, "prefetch_used": 0, "prefetch_dropped": 0, "evictions": 2},
    )


@case
def previous_after_a_prefill_takes_its_last_token() -> tuple[Plan, Expect]:
    """Layer 0 always wants 0 (there); layer 1, room for 2, sees tokens 10, 23, 01 in prefill: set 1 0 2 3. No control.

    Step 0: 0-30. Layer 1: 1 and 0 claim, link 30-94-158; 1 94-124, 2 takes its place, link 158-222; 0 158-188, 3 takes
    its place, link 222-286; 2 222-252, 3 286-316. Step 1 at 316: predicted for layer 1, slot order of the last token:
    0 (pushes out 2), then 1 (pushes out 3): link 316-380-444. Layer 0 -346; layer 1: both late; 380-410, 444-474.
    """
    plan = small_plan(
        [[[[0], [0], [0]], [[1, 0], [2, 3], [0, 1]]], [[0], [1, 0]]], capacity=[60, 120], initial=[(0, 0)],
        prefetch="previous", prefill=[True, False], **STILL,
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[30, 316], [346, 474]],
        late=[[0, 0], [0, 2]],
        link=[(30, 94, 1), (94, 158, 0), (158, 222, 2), (222, 286, 3), (316, 380, 0), (380, 444, 1)],
        waits=[
            (30, 94, 1, 0),
            (124, 158, 0, 1),
            (188, 222, 2, 2),
            (252, 286, 3, 3),
            (346, 380, 0, 4),
            (410, 444, 1, 5),
        ],
        counters={"prefetches": 2, "prefetch_used": 2, "evictions": 4},
    )


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
