"""Micro-scenarios of storage, the DRAM cache and chunks on their way through both (rules 6, 7 and 11).

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
def unified_memory_reads_of_two_sizes() -> tuple[Plan, Expect]:
    """Two lanes; an expert is read as 40 and 24 bytes (4 of padding): alone 40 and 20 ticks, two lanes busy 60 and 30.

    0 issued 138: both its reads are picked, two busy: 138-198 and 138-168. 1 issued 141 waits for a lane: 168-228 (60),
    198-228 (30). 0 arrives at 198, 198-228; 1 at 228, 228-258. Wait 141-198 = 57. 258 = 141 + 57 + 60.
    """
    plan = small_plan(
        [[[0, 1]]], path="storage", lanes=2, read_sizes=[40, 24], read_ends=[40, 60],
        read_ps={40: (0, 40, 60), 24: (0, 20, 30)},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[258]],
        reads=[(138, 168, 0), (138, 198, 0), (168, 228, 1), (198, 228, 1)],
        groups=[(198, 228, (0,)), (228, 258, (1,))],
        waits=[(141, 198, 0, 0)],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 60, "stall_storage": 57},
        step_bytes=[120],
        counters={"bytes_read": 128, "bytes_loaded": 120, "storage_busy": 180, "link_busy": 0, "loads": 2},
    )


@case
def last_read_alone_is_faster() -> tuple[Plan, Expect]:
    """Three reads of 20 bytes on two lanes, 20 ticks alone, 30 when two are busy: 138-168 twice, 168-188. 0 188-218."""
    plan = small_plan([[[0]]], path="storage", lanes=2, read_sizes=[20, 20, 20], read_ps={20: (0, 20, 30)})
    return plan, Expect(
        layer_end=[[218]], reads=[(138, 168, 0), (138, 168, 0), (168, 188, 0)], counters={"storage_busy": 80}
    )


@case
def unified_memory_late_prefetch() -> tuple[Plan, Expect]:
    """One lane, a read takes 200. (0,1,1) predicted at 135: 135-335. Layer 1: R = 300, late; 335-365."""
    plan = small_plan([[[0], [1]]], initial=[(0, 0)], path="storage", read_ps=200, script={(0, 0): [(0, 1, 1)]})
    return plan, Expect(
        layer_end=[[165, 365]],
        late=[[0, 1]],
        waits=[(300, 335, 1, 0)],
        breakdown={"attention": 200, "router": 40, "control": 30, "experts": 60, "stall_storage": 35},
    )


def _three_steps(dram: int) -> Plan:
    """Sets 0, 1, 0; device room for one; two reads of 30 bytes, 50 ticks each, one lane; two chunks; resume 7."""
    return small_plan(
        [[[0]], [[1]], [[0]]], slots=1, path="storage+link", read_sizes=[30, 30], chunks=2, resume=7, dram_capacity=dram
    )


@case
def copy_starts_at_its_first_chunk_and_yields() -> tuple[Plan, Expect]:
    """Step 0: issued 138; reads 138-188-238. At 188 half of it is in DRAM: link 188-222 (4 + 30).

    The rest comes at 238: resumed 238 + 7 + 30 = 275; 275-305. The wait 138-275: storage until 238 (100), link 37.

    Step 1: R = 440, 1 takes 0's place, issued 443: reads -493-543, link 493-527, 543-580, -610. The same 100 + 37.
    Step 2: R = 745, issued 748: 0 is still in DRAM: link 748-812, -842: 64 for the link.
    """
    return _three_steps(120), Expect(
        layer_end=[[305], [610], [842]],
        misses=[[1], [1], [1]],
        link=[(188, 222, 0), (238, 275, 0), (493, 527, 1), (543, 580, 1), (748, 812, 0)],
        reads=[(138, 188, 0), (188, 238, 0), (443, 493, 1), (493, 543, 1)],
        waits=[(138, 275, 0, 0), (443, 580, 1, 1), (748, 812, 0, 2)],
        breakdown={
            "attention": 300, "router": 60, "control": 54, "experts": 90, "stall_storage": 200, "stall_link": 138,
        },
        counters={"bytes_read": 120, "bytes_loaded": 180, "storage_busy": 200, "link_busy": 206, "evictions": 2},
    )  # fmt: skip


@case
def dram_with_room_for_one_reads_again() -> tuple[Plan, Expect]:
    """DRAM of 60 bytes: 1 pushes 0 out of it; step 2 reads again: 748-798-848, link 798-832, 848-885, -915."""
    return _three_steps(60), Expect(
        layer_end=[[305], [610], [915]],
        link=[(188, 222, 0), (238, 275, 0), (493, 527, 1), (543, 580, 1), (798, 832, 0), (848, 885, 0)],
        breakdown={
            "attention": 300, "router": 60, "control": 54, "experts": 90, "stall_storage": 300, "stall_link": 111,
        },
        counters={"bytes_read": 180, "waits_for_bytes": 0},
    )  # fmt: skip


@case
def dram_hit_renews_recency() -> tuple[Plan, Expect]:
    """No control; one read of 50; device room for one, DRAM for two. Sets 0 1 0 2 0.

    Absent: 50 + 64 + 30 = 144; in DRAM 94.
    0 and 1 absent: 144, 288. 0 in DRAM, touched: 382. 2 pushes 1 out of DRAM, not 0: 526. 0 in DRAM: 620.
    """
    plan = small_plan([[[0]], [[1]], [[0]], [[2]], [[0]]], slots=1, path="storage+link", dram_capacity=120, **STILL)
    return plan, Expect(
        layer_end=[[144], [288], [382], [526], [620]], counters={"bytes_read": 180, "bytes_loaded": 300}
    )


@case
def dram_hit_joins_the_link_before_an_earlier_miss() -> tuple[Plan, Expect]:
    """No control, one read of 50, device room for two. Sets 0; 2 3 (0 leaves the device); 1 0.

    Step 0: read -50, link 50-114, -144. Step 1: reads 144-194-244; link 194-258-322; 258-288, 322-352.
    Step 2 at 352: 1 is read 352-402; 0, issued after it, is in DRAM: link 352-416; 1 joined at 402: link 416-480.
    0 416-446; wait -480; 1 480-510.
    """
    plan = small_plan([[[0]], [[2, 3]], [[1, 0]]], slots=2, path="storage+link", **STILL)
    return plan, Expect(
        layer_end=[[144], [352], [510]],
        link=[(50, 114, 0), (194, 258, 2), (258, 322, 3), (352, 416, 0), (416, 480, 1)],
        groups=[(114, 144, (0,)), (258, 288, (2,)), (322, 352, (3,)), (416, 446, (0,)), (480, 510, (1,))],
        waits=[(0, 114, 0, 0), (144, 258, 2, 1), (288, 322, 3, 2), (352, 416, 0, 4), (446, 480, 1, 3)],
    )


@case
def load_waits_for_dram() -> tuple[Plan, Expect]:
    """No control, one read of 50, device room for two, DRAM for one; set 0 1.

    0: read 0-50, link 50-114; it pins the DRAM bytes until 114. 1 waits; 114: it takes them: read -164, link 164-228.
    0 114-144. Waits: 0-114 = storage 50 + link 64; 144-228: DRAM claim at 114, in DRAM at 164: storage 20, link 64.
    """
    plan = small_plan([[[0, 1]]], slots=2, path="storage+link", dram_capacity=60, **STILL)
    return plan, Expect(
        layer_end=[[258]],
        link=[(50, 114, 0), (164, 228, 1)],
        reads=[(0, 50, 0), (114, 164, 1)],
        waits=[(0, 114, 0, 0), (144, 228, 1, 1)],
        breakdown={"experts": 60, "stall_storage": 70, "stall_link": 128},
        residency=[[2]],
        counters={"waits_for_bytes": 1, "evictions": 0},
    )


@case
def one_wait_cut_three_ways() -> tuple[Plan, Expect]:
    """The same with set 0 1 2 under after_all: DRAM goes from 0 (114) to 1 (228) to 2; three together 342-392.

    The one wait 0-342 is ended by 2: until its DRAM claim 228 cache, until 278 storage, until 342 link.
    """
    plan = small_plan([[[0, 1, 2]]], path="storage+link", dram_capacity=60, grouping="after_all", **STILL)
    return plan, Expect(
        layer_end=[[392]],
        link=[(50, 114, 0), (164, 228, 1), (278, 342, 2)],
        waits=[(0, 342, 2, 2)],
        breakdown={"experts": 50, "stall_cache": 228, "stall_storage": 50, "stall_link": 64},
        counters={"waits_for_bytes": 2},
    )


@case
def prefetch_without_dram_bytes_claims_nothing() -> tuple[Plan, Expect]:
    """DRAM for one, pinned by 0 (issued 138, read -188, link -252).

    The prefetch (0,1,1) at F = 138 is dropped before it would push 2 out of layer 1, which has room for one.
    0 252-282. Layer 1: R = 417: 2 hits, 447.
    """
    plan = small_plan(
        [[[0], [2]]], slots=1, initial=[(1, 2)], path="storage+link", dram_capacity=60, script={(0, 0): [(0, 1, 1)]}
    )
    return plan, Expect(
        layer_end=[[282, 447]],
        hits=[[0, 1]],
        counters={"prefetches": 0, "prefetch_dropped": 1, "evictions": 0, "bytes_read": 60},
    )


def _reads(discipline: str) -> Plan:
    """(0,1,1) predicted at tick 0; 0 missed at R = 30, issued 33; two reads of 50 each, one lane."""
    return small_plan(
        [[[0], [1]]], attention=[15, 65], router=0, discipline=discipline, path="storage+link", read_sizes=[30, 30],
        source="layer_start", script={(0, 0): [(0, 1, 1)]},
    )  # type: ignore[arg-type]  # fmt: skip


@case
def demanded_reads_go_first_under_two_level() -> tuple[Plan, Expect]:
    """The prefetch reads 0-50; then 0's 50-100-150; then the prefetch's second 150-200. 0: link 150-214, 214-244; the
    prefetch joins at 200: link 214-278. Layer 1: R = 244 + 80 = 324, hit, 354.
    """
    return _reads("two_level"), Expect(
        layer_end=[[244, 354]],
        hits=[[0, 1]],
        reads=[(0, 50, 1), (50, 100, 0), (100, 150, 0), (150, 200, 1)],
        link=[(150, 214, 0), (214, 278, 1)],
        breakdown={
            "attention": 80, "control": 33, "experts": 60, "stall_storage": 117, "stall_link": 64,
        },
    )  # fmt: skip


@case
def reads_in_order_of_issue_under_fifo() -> tuple[Plan, Expect]:
    """The prefetch reads 0-50-100, link 100-164; 0 reads 100-150-200, link 200-264, -294. Layer 1: R = 374, 404."""
    return _reads("fifo"), Expect(
        layer_end=[[294, 404]],
        hits=[[0, 1]],
        reads=[(0, 50, 1), (50, 100, 1), (100, 150, 0), (150, 200, 0)],
        link=[(100, 164, 1), (200, 264, 0)],
    )


@case
def cancelled_prefetch_is_read_to_the_end() -> tuple[Plan, Expect]:
    """two_level; reads of 30 and 31 bytes (one of padding) take 50 and 150. 0 predicted at tick 0 for this layer: reads
    from 0. R = 30, set 1: 0 vanishes (nothing copied), its reads stay. 1 issued 33: reads 50-100-250 (demanded first),
    link 250-314, -344. 0's second read 250-400.

    Step 1, set 0: R = 374, a miss, issued 377: 0 is being read: it joins the link at 400: 400-464, -494.
    Waits: 33-314: storage 217, link 64; 377-464: storage 23, link 64.
    """
    plan = small_plan(
        [[[1]], [[0]]], attention=15, router=0, discipline="two_level", path="storage+link", read_sizes=[30, 31],
        read_ends=[30, 60], read_ps={30: (0, 50), 31: (0, 150)}, source="layer_start", script={(0, 0): [(0, 0, 0)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[344], [494]],
        misses=[[1], [1]],
        reads=[(0, 50, 0), (50, 100, 1), (100, 250, 1), (250, 400, 0)],
        link=[(250, 314, 1), (400, 464, 0)],
        waits=[(33, 314, 1, 1), (377, 464, 0, 2)],
        breakdown={"attention": 30, "control": 36, "experts": 60, "stall_storage": 240, "stall_link": 128},
        counters={
            "prefetches": 1, "prefetch_cancelled": 1, "bytes_wasted": 0, "bytes_read": 122, "bytes_loaded": 120,
            "loads": 2, "storage_busy": 400,
        },
    )  # fmt: skip


def _partial(demand_order: str) -> Plan:
    """Predicted at tick 0: (0,0,0), (0,1,2), (0,0,1); R = 70 of layer 0 wants 1 (weight 30) and 0 (20); two chunks.

    Two lanes; layer 0 reads 30 bytes in 20 and 30 (+ 1) in 80; layer 1 reads 60 in 20. 0: 0-20 and 0-80; 2: 20-40; 1:
    40-60 and 60-140. Link: 0 joins at 20: 20-54, then its second chunk is not there (80); 2 54-88; 1 joins at 60.
    """
    return small_plan(
        [[[1, 0], [2]]], weights=[[[30, 20], [0]]], **{**STILL, "attention": [70, 0]}, discipline="two_level", chunks=2,
        path="storage+link", lanes=2, read_sizes=[(30, 31), (60,)], read_ends=[(30, 60), (60,)],
        read_ps={30: (0, 20, 20), 31: (0, 80, 80), 60: (0, 20, 20)}, source="layer_start", demand_order=demand_order,
        script={(0, 0): [(0, 0, 0), (0, 1, 2), (0, 0, 1)]},
    )  # type: ignore[arg-type]  # fmt: skip


@case
def demand_order_ready_first() -> tuple[Plan, Expect]:
    """0 has moved one chunk, 1 none: 0 joins HIGH first. 88: 2 is left for 0's second chunk: 88-118; 1 118-182.

    2 resumes 182-212. 0 118-148; 1 182-212. Layer 1 at 212: 2 has just arrived: hit, 212-242.
    Waits 70-118 (storage until 80: 10, link 38), 148-182 (link 34).
    """
    return _partial("ready_first"), Expect(
        layer_end=[[212, 242]],
        hits=[[0, 1]],
        late=[[2, 0]],
        link=[(20, 54, 0), (54, 88, 2), (88, 118, 0), (118, 182, 1), (182, 212, 2)],
        waits=[(70, 118, 0, 0), (148, 182, 1, 2)],
        breakdown={"attention": 70, "experts": 90, "stall_storage": 10, "stall_link": 72},
        counters={
            "prefetches": 3, "prefetch_used": 3, "bytes_read": 182, "bytes_loaded": 180, "bytes_wasted": 0,
            "storage_busy": 220, "link_busy": 192,
        },
    )  # fmt: skip


@case
def partial_copy_passed_over_until_its_chunk_is_there() -> tuple[Plan, Expect]:
    """By weight 1 joins HIGH first: 88-122, its second chunk comes at 140: passed over for 0: 122-152; 1 152-182.

    2 resumes 182-212. 0 152-182; 1, there at 182, 182-212; layer 1: hit, 242. Wait 70-152: storage until 80, link 72.
    """
    return _partial("router_weight"), Expect(
        layer_end=[[212, 242]],
        link=[(20, 54, 0), (54, 88, 2), (88, 122, 1), (122, 152, 0), (152, 182, 1), (182, 212, 2)],
        waits=[(70, 152, 0, 0)],
        breakdown={"attention": 70, "experts": 90, "stall_storage": 10, "stall_link": 72},
    )


@case
def partial_copy_cancelled_in_the_queue() -> tuple[Plan, Expect]:
    """The same predictions, but layer 0 wants 1 alone: at R = 70 0 (one chunk moved, waiting for its second) vanishes.

    30 bytes wasted; its read goes on to 80. 88: 2 is left for 1: 88-122; second chunk 140: nothing else but 2, whose
    second chunk is in DRAM: 2 122-152; 1 152-182. 1 182-212. Layer 1: 2 hits at 212, 242.
    """
    plan = small_plan(
        [[[1], [2]]], **{**STILL, "attention": [70, 0]}, discipline="two_level", chunks=2,
        path="storage+link", lanes=2, read_sizes=[(30, 31), (60,)], read_ends=[(30, 60), (60,)],
        read_ps={30: (0, 20, 20), 31: (0, 80, 80), 60: (0, 20, 20)}, source="layer_start",
        script={(0, 0): [(0, 0, 0), (0, 1, 2), (0, 0, 1)]},
    )  # fmt: skip
    return plan, Expect(
        layer_end=[[212, 242]],
        hits=[[0, 1]],
        late=[[1, 0]],
        link=[(20, 54, 0), (54, 88, 2), (88, 122, 1), (122, 152, 2), (152, 182, 1)],
        waits=[(70, 182, 1, 2)],
        breakdown={"attention": 70, "experts": 60, "stall_storage": 70, "stall_link": 42},
        residency=[[1, 1]],
        counters={
            "prefetch_cancelled": 1, "prefetch_used": 2, "bytes_wasted": 30, "bytes_loaded": 150, "bytes_read": 182,
        },
    )  # fmt: skip


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
