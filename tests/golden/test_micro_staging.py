"""Micro-scenarios of prefetching into staging slots (rules 3 and 8).

Numbers unless said otherwise: attention 100, router 20, d2h_sync 10, lookup 5, issue 3, t0 4 (one piece), D 60, one
expert 30, two together 40, three 50; 60 bytes each. R = 135 is the lookup of a layer that starts at 0, F the tick at
which the walk is over. "No control" (STILL): R = F = the layer's start.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.micro import Cases, Expect, check
from tests.support.plans import small_plan

case = Cases()


@case
def staged_prefetch_is_used_and_moves_in() -> tuple[Plan, Expect]:
    """One staging slot; layer 1 has room for one and holds 2. Predicted at 135: (0,1,1), (0,1,0) (no slot: dropped).

    0 135-165; link 135-199. Layer 1: R = 300, 1 is complete in staging: hit, moves in, 2 leaves; 300-330.
    Step 1: 465-495; layer 1: R = 630, 1 resident: 630-660.
    """
    plan = small_plan(
        [[[0], [1]], [[0], [1]]], slots=1, initial=[(0, 0), (1, 2)], into="staging", prefetch_slots=1,
        script={(0, 0): [(0, 1, 1), (0, 1, 0)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 330], [495, 660]],
        hits=[[1, 1], [1, 1]],
        link=[(135, 199, 1)],
        residency=[[1, 1], [1, 1]],
        counters={"prefetches": 1, "prefetch_used": 1, "prefetch_dropped": 1, "evictions": 1, "bytes_wasted": 0},
    )


@case
def staged_prefetch_unused_frees_its_slot() -> tuple[Plan, Expect]:
    """One slot. (0,1,1) comes 135-199, layer 1 wants 2: at R = 300 the slot is freed (60 wasted).

    2 issued 303, link -367, -397; at F = 303 (1,0,1) is predicted and finds the slot: link 367-431. Step 1: R = 532:
    hit in staging, moves in, -562. Layer 1: R = 697, 2 hits, 727.
    """
    plan = small_plan(
        [[[0], [2]], [[1], [2]]], initial=[(0, 0)], into="staging", prefetch_slots=1,
        script={(0, 0): [(0, 1, 1)], (0, 1): [(1, 0, 1)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 397], [562, 727]],
        hits=[[1, 0], [1, 1]],
        link=[(135, 199, 1), (303, 367, 2), (367, 431, 1)],
        residency=[[1, 1], [2, 1]],
        counters={"prefetches": 2, "prefetch_used": 1, "prefetch_dropped": 0, "bytes_wasted": 60, "loads": 3},
    )


@case
def late_into_staging_moves_in_at_arrival() -> tuple[Plan, Expect]:
    """D 300: link 135-439. Layer 1: R = 300: late; wait 300-439; at 439 it moves into the cache; 439-469."""
    plan = small_plan([[[0], [1]]], D=300, initial=[(0, 0)], into="staging", script={(0, 0): [(0, 1, 1)]})
    return plan, Expect(
        layer_end=[[165, 469]],
        late=[[0, 1]],
        link=[(135, 439, 1)],
        waits=[(300, 439, 1, 0)],
        residency=[[1, 1]],
        counters={"prefetch_used": 1, "bytes_wasted": 0},
    )


@case
def late_into_staging_without_room_is_forgotten() -> tuple[Plan, Expect]:
    """D 300; layer 1 has room for one, holds 2, wants 2 1; one expert takes 200 there.

    R = 300: 2 hits, 300-500, pinned; 1 late, arrives 439: no room, stays in its slot, 500-700, then it is forgotten.
    Step 1: R = 835, -865. Layer 1: R = 1000, 1 missed, takes 2's place, issued 1003, -1307, -1507.
    """
    plan = small_plan(
        [[[0], [2, 1]], [[0], [1]]], D=300, slots=1, initial=[(0, 0), (1, 2)], into="staging",
        script={(0, 0): [(0, 1, 1)]}, group=[lambda p, d: 30, lambda p, d: 200], group_class=[0, 1],
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 700], [865, 1507]],
        hits=[[1, 1], [1, 0]],
        late=[[0, 1], [0, 0]],
        misses=[[0, 0], [0, 1]],
        groups=[(135, 165, (0,)), (300, 500, (2,)), (500, 700, (1,)), (835, 865, (0,)), (1307, 1507, (1,))],
        residency=[[1, 1], [1, 1]],
        counters={"evictions": 1, "bytes_wasted": 0, "prefetch_used": 1},
    )


@case
def staged_arrival_after_its_lookup_unselected() -> tuple[Plan, Expect]:
    """D 300, one slot. (0,1,1): link 135-439; layer 1 wanted 2 at 300: issued 303, link 439-743, -773.

    At 439 1's slot is freed at once (60 wasted). Step 1: R = 908, hit, (1,1,1) finds the slot: link 908-1212; layer 1:
    R = 938 + 135 = 1073: late, wait -1212, 1242.
    """
    plan = small_plan(
        [[[0], [2]], [[0], [1]]], D=300, initial=[(0, 0)], into="staging", prefetch_slots=1,
        script={(0, 0): [(0, 1, 1)], (1, 0): [(1, 1, 1)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 773], [938, 1242]],
        late=[[0, 0], [0, 1]],
        link=[(135, 439, 1), (439, 743, 2), (908, 1212, 1)],
        waits=[(303, 743, 2, 1), (1073, 1212, 1, 2)],
        residency=[[1, 1], [1, 2]],
        counters={"prefetches": 2, "prefetch_used": 1, "prefetch_dropped": 0, "bytes_wasted": 60, "bytes_loaded": 180},
    )


@case
def staged_move_is_charged_like_a_claim() -> tuple[Plan, Expect]:
    """As the first case here, 20 per load and 5 per victim on the stream: before 1's first group 25: 300-325-355.

    Step 1: 490-520; R = 655: 1 is resident, no management any more: 685.
    """
    plan = small_plan(
        [[[0], [1]], [[0], [1]]], slots=1, initial=[(0, 0), (1, 2)], into="staging", script={(0, 0): [(0, 1, 1)]},
        load_overhead=20, evict_overhead=5,
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[165, 355], [520, 685]],
        breakdown={"attention": 400, "router": 80, "control": 60, "experts": 120, "management": 25},
        counters={"evictions": 1},
    )


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
