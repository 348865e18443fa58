"""Micro-scenarios of the two-level link, chunks, copy overheads (rule 7).

Numbers unless said otherwise: attention 100, router 20, d2h_sync 10, lookup 5, issue 3, t0 4 (one piece), D 60, one
expert 30, two together 40, three 50; 60 bytes each. R = 135 is the lookup of a layer that starts at 0, F the tick at
which the walk is over. "No control" (STILL): R = F = the layer's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.micro import Cases, Expect, check
from tests.support.plans import small_plan

case = Cases()

QUICK = {"attention": 15, "router": 0, "discipline": "two_level", "chunks": 3}
"""R = 15 + 0 + 10 + 5 = 30. A transfer served from P ends its chunks at P + 24, P + 44, P + 64."""


def _preempted(attention: int, **more: Any) -> tuple[Plan, int]:
    """(0,1,1) predicted at tick 0, 0 missed by layer 0: a plan and the tick of the miss's issue."""
    plan = small_plan(
        [[[0], [1]]], source="layer_start", script={(0, 0): [(0, 1, 1)]}, **{**QUICK, "attention": attention, **more}
    )
    return plan, attention + 18


@case
def preempted_at_its_next_chunk_end() -> tuple[Plan, Expect]:
    """Prefetch from 0, chunks 24, 44; 0 issued 33: the prefetch leaves at 44, 0 44-108; the rest 108-128 (60 - 40).

    0 108-138. Layer 1: R = 168: hit (128), 168-198.
    """
    plan, issued = _preempted(15)
    assert issued == 33
    return plan, Expect(
        layer_end=[[138, 198]],
        hits=[[0, 1]],
        link=[(0, 44, 1), (44, 108, 0), (108, 128, 1)],
        waits=[(33, 108, 0, 1)],
        breakdown={"attention": 30, "control": 33, "experts": 60, "stall_link": 75},
        counters={"prefetches": 1, "prefetch_used": 1, "bytes_loaded": 120, "bytes_wasted": 0, "link_busy": 128},
    )


@case
def preempted_exactly_at_a_chunk_end() -> tuple[Plan, Expect]:
    """0 issued at 26 + 18 = 44, the tick of the second chunk end: issues (phase 5) before picks (phase 8): first.

    0 44-108; resume 7: 108 + 7 + 20 = 135. 0 108-138; layer 1: R = 138 + 41 = 179, hit, 209.
    """
    plan, issued = _preempted(26, resume=7)
    assert issued == 44
    return plan, Expect(
        layer_end=[[138, 209]],
        hits=[[0, 1]],
        link=[(0, 44, 1), (44, 108, 0), (108, 135, 1)],
        counters={"link_busy": 135},
    )


@case
def issued_one_tick_after_a_chunk_end() -> tuple[Plan, Expect]:
    """0 issued at 27 + 18 = 45: the third chunk has begun, the prefetch ends at 64: 0 64-128, -158.

    Layer 1: R = 158 + 42 = 200, hit, 230.
    """
    plan, issued = _preempted(27)
    assert issued == 45
    return plan, Expect(layer_end=[[158, 230]], hits=[[0, 1]], link=[(0, 64, 1), (64, 128, 0)])


@case
def wakeup_precedes_every_start_and_resumption() -> tuple[Plan, Expect]:
    """Wakeup 5, resume 7: chunks 29, 49; 0 issued 44: the prefetch leaves at 49; 0: 54 + 64 = 118.

    The rest: 118 + 5 + 7 + 20 = 150. 0 118-148. Layer 1: R = 148 + 41 = 189, hit, 219.
    """
    plan, _ = _preempted(26, wakeup=5, resume=7)
    return plan, Expect(
        layer_end=[[148, 219]],
        hits=[[0, 1]],
        link=[(0, 49, 1), (49, 118, 0), (118, 150, 1)],
        counters={"link_busy": 150},
    )


@case
def loop_of_three_pieces_resumed() -> tuple[Plan, Expect]:
    """loop, 3 pieces, 2 chunks: begun by chunk 1: ceil(3/2) = 2, by chunk 2: 3; c = 8, 12.

    Prefetch from 0: chunk 1 at 8 + 30 = 38. 0 issued 33: 38 + 12 + 60 = 110. Resumed at 110, resume 7: + 7 + (12 - 8) +
    30 = 151. 0 110-140. Layer 1: R = 170, hit, 200.
    """
    plan, _ = _preempted(15, chunks=2, pieces=3, resume=7)
    return plan, Expect(
        layer_end=[[140, 200]],
        hits=[[0, 1]],
        link=[(0, 38, 1), (38, 110, 0), (110, 151, 1)],
        counters={"link_busy": 151},
    )


@case
def uneven_chunks_round_up() -> tuple[Plan, Expect]:
    """D 61 in 3: ceil(61/3) = 21, ceil(122/3) = 41, 61. Prefetch: 25, 45; 0 issued 33: 45 + 65 = 110.

    The rest: 110 + 61 - 41 = 130. 0 110-140. Layer 1: R = 170, 200.
    """
    plan, _ = _preempted(15, D=61)
    return plan, Expect(
        layer_end=[[140, 200]],
        hits=[[0, 1]],
        link=[(0, 45, 1), (45, 110, 0), (110, 130, 1)],
        counters={"link_busy": 130},
    )


@case
def batch_pays_once_per_issue() -> tuple[Plan, Expect]:
    """fifo, batch, room for 2 in each layer, set 0 1 2: only the first served of a walk or of a prediction pays t0.

    0 issued 138, link 138-202; 1 issued 141, link 202-262 (no t0); 2 waits; F = 141. Predicted for layer 1 at 141: 0
    and 1, an issue of their own: link 262-326 (t0), 326-386. 0 202-232: 2 takes its place, issued 232, of the walk's
    issue: link 386-446 (no t0). 1 262-292; 2 446-476. Layer 1: R = 611: both hit, 611-651.
    """
    plan = small_plan([[[0, 1, 2], [0, 1]]], slots=2, method="batch", script={(0, 0): [(0, 1, 0), (0, 1, 1)]})
    return plan, Expect(
        layer_end=[[476, 651]],
        hits=[[0, 2]],
        link=[(138, 202, 0), (202, 262, 1), (262, 326, 0), (326, 386, 1), (386, 446, 2)],
    )


def _order(demand_order: str) -> Plan:
    """Predicted at tick 0: (0,1,3), then (0,0,0); set 1 0 with weights 20 10; the issue of 1 takes 3."""
    return small_plan(
        [[[1, 0], [3]]], weights=[[[20, 10], [0]]], source="layer_start", demand_order=demand_order,
        script={(0, 0): [(0, 1, 3), (0, 0, 0)]}, **QUICK,
    )  # type: ignore[arg-type]  # fmt: skip


@case
def queued_prefetch_is_promoted_behind_a_heavier_miss() -> tuple[Plan, Expect]:
    """3 from 0, chunks 24, 44. R = 30: by weight 1 first: issued 33; 0 (late, queued, without a claim) claims and is
    promoted at 33: behind it. 3 leaves at 44; 1 44-108; 0 108-172; 3's last chunk 172-192.

    F = 33, wait -108, 1 -138, wait -172, 0 -202. Layer 1: R = 232: hit, 262.
    """
    return _order("router_weight"), Expect(
        layer_end=[[202, 262]],
        hits=[[0, 1]],
        late=[[1, 0]],
        misses=[[1, 0]],
        link=[(0, 44, 3), (44, 108, 1), (108, 172, 0), (172, 192, 3)],
        waits=[(33, 108, 1, 2), (138, 172, 0, 1)],
        breakdown={"attention": 30, "control": 33, "experts": 90, "stall_link": 109},
        counters={"prefetches": 2, "prefetch_used": 2, "prefetch_cancelled": 0},
    )


@case
def queued_prefetch_is_promoted_ahead_by_id() -> tuple[Plan, Expect]:
    """By id 0 is promoted first, at 30: 0 44-108, 1 108-172. Ends are the same."""
    return _order("expert_id"), Expect(
        layer_end=[[202, 262]],
        late=[[1, 0]],
        link=[(0, 44, 3), (44, 108, 0), (108, 172, 1), (172, 192, 3)],
        waits=[(33, 108, 0, 1), (138, 172, 1, 2)],
    )


def _cancelled(**more: Any) -> Plan:
    """2 is predicted for this very layer at tick 0; the set is 1."""
    return small_plan([[[1]]], n_experts=3, source="layer_start", script={(0, 0): [(0, 0, 2)]}, **{**QUICK, **more})


@case
def cancelled_in_service_ends_its_chunk() -> tuple[Plan, Expect]:
    """2 from 0; R = 30 in its second chunk: it vanishes at 44 with 40 bytes moved. 1 issued 33, link 44-108, -138."""
    return _cancelled(), Expect(
        layer_end=[[138]],
        link=[(0, 44, 2), (44, 108, 1)],
        waits=[(33, 108, 1, 1)],
        residency=[[1]],
        counters={
            "prefetches": 1, "prefetch_cancelled": 1, "prefetch_used": 0, "loads": 1, "bytes_loaded": 100,
            "bytes_wasted": 40, "link_busy": 108,
        },
    )  # fmt: skip


@case
def cancelled_at_a_chunk_end_vanishes_at_once() -> tuple[Plan, Expect]:
    """R = 29 + 15 = 44, the end of the second chunk: it vanishes at 44, not at 64. 1 issued 47, link 47-111, -141."""
    return _cancelled(attention=29), Expect(
        layer_end=[[141]],
        link=[(0, 44, 2), (47, 111, 1)],
        counters={"prefetch_cancelled": 1, "bytes_wasted": 40, "bytes_loaded": 100, "loads": 1},
    )


@case
def cancelled_in_its_last_chunk_completes() -> tuple[Plan, Expect]:
    """R = 35 + 15 = 50, in the third chunk: it ends at 64 and stays, unused. 1 issued 53, link 64-128, -158."""
    return _cancelled(attention=35), Expect(
        layer_end=[[158]],
        link=[(0, 64, 2), (64, 128, 1)],
        residency=[[2]],
        counters={"loads": 2, "bytes_wasted": 60, "bytes_loaded": 120},
    )


@case
def link_overhead_is_not_cut_short() -> tuple[Plan, Expect]:
    """Link overhead 20. R = 55 + 15 = 70 in 2's overhead (64-84): it completes. 1 issued 73, link 84-148-168, -198."""
    return _cancelled(attention=55, load_overhead=20, overhead_on="link"), Expect(
        layer_end=[[198]],
        link=[(0, 84, 2), (84, 168, 1)],
        residency=[[2]],
        counters={"loads": 2, "bytes_wasted": 60},
    )


@case
def cancelled_claim_is_free_at_its_chunk_end() -> tuple[Plan, Expect]:
    """Room for one, held by 2 (claimed at its pick, tick 0). R = 30: 1 cannot claim, waits; F = 30.

    2 vanishes at 44: 1 claims, issued 44, picked 44: link 44-108, -138. Wait 30-108: 14 for the cache, 64 for the link.
    """
    return _cancelled(slots=1), Expect(
        layer_end=[[138]],
        link=[(0, 44, 2), (44, 108, 1)],
        waits=[(30, 108, 1, 1)],
        breakdown={"attention": 15, "control": 15, "experts": 30, "stall_cache": 14, "stall_link": 64},
        counters={"waits_for_bytes": 1, "evictions": 0, "bytes_wasted": 40},
    )


@case
def prefetch_claims_at_service_or_is_dropped() -> tuple[Plan, Expect]:
    """One cache, room for one: (0,0), pinned at R = 30. Two predictions are queued (counted) and dropped at the pick.

    0 30-60. Layer 1: R = 90, miss, takes (0,0)'s place, issued 93, link 93-157, -187.
    """
    plan = small_plan(
        [[[0], [1]]],
        capacity=("global", 60),
        n_experts=3,
        initial=[(0, 0)],
        script={(0, 0): [(0, 1, 1), (0, 1, 2)]},
        **QUICK,
    )
    return plan, Expect(
        layer_end=[[60, 187]],
        misses=[[0, 1]],
        link=[(93, 157, 1)],
        counters={"prefetches": 2, "prefetch_dropped": 2, "evictions": 1},
    )


@case
def prefetch_claims_when_its_turn_comes() -> tuple[Plan, Expect]:
    """One cache, room for two: (0,0) hit, (0,1) missed. At F = 33 (0,1,2) is queued LOW; both places are pinned then.

    Link 33-97 for (0,1); 0 33-63. At 97 the prefetch enters service: (0,0) is unpinned and leaves. Link 97-161.
    1 97-127. Layer 1: R = 157: late, in service, promoted; F = 157; arrives 161; 161-191.
    """
    plan = small_plan(
        [[[0, 1], [2]]], capacity=("global", 120), initial=[(0, 0)], script={(0, 0): [(0, 1, 2)]}, **QUICK
    )
    return plan, Expect(
        layer_end=[[127, 191]],
        hits=[[1, 0]],
        late=[[0, 1]],
        link=[(33, 97, 1), (97, 161, 2)],
        waits=[(63, 97, 1, 0), (157, 161, 2, 1)],
        residency=[[1, 1]],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_dropped": 0, "evictions": 1},
    )


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
