"""Micro-scenarios of the overheads of loads and evictions (rule 9).

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


@case
def load_overhead_on_the_link() -> tuple[Plan, Expect]:
    """20 per load, set 0 1: the link is held 20 longer: 138-202-222, 222-286-306. 0 222-252; 1 306-336."""
    return small_plan([[[0, 1]]], load_overhead=20, overhead_on="link"), Expect(
        layer_end=[[336]],
        link=[(138, 222, 0), (222, 306, 1)],
        waits=[(141, 222, 0, 0), (252, 306, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 60, "stall_link": 135},
        counters={"link_busy": 168, "stream_busy": 180},
    )


def _both(**how: Any) -> Plan:
    """20 per load, 5 per victim; room for two, holding 2 and 3; set 0 1."""
    return small_plan([[[0, 1]]], slots=2, initial=[2, 3], load_overhead=20, evict_overhead=5, **how)


@case
def both_overheads_on_the_link() -> tuple[Plan, Expect]:
    """64 + 20 + 5 = 89 each: 138-227-316. 0 227-257; 1 316-346."""
    return _both(overhead_on="link"), Expect(
        layer_end=[[346]],
        link=[(138, 227, 0), (227, 316, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "experts": 60, "stall_link": 145},
        counters={"evictions": 2, "link_busy": 178},
    )


@case
def both_overheads_on_the_stream() -> tuple[Plan, Expect]:
    """0 there at 202: management 25, 202-227, then 227-257; wait 257-266; 1: 266-291, 291-321. Link as ever."""
    return _both(overhead_on="stream"), Expect(
        layer_end=[[321]],
        link=[(138, 202, 0), (202, 266, 1)],
        waits=[(141, 202, 0, 0), (257, 266, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "management": 50, "experts": 60, "stall_link": 70},
        counters={"stream_busy": 100 + 20 + 50 + 60, "link_busy": 128},
    )


@case
def management_is_summed_over_the_group() -> tuple[Plan, Expect]:
    """hits_then_rest, room for three holding 2 and 3, set 2 0 1: 2 hits, 141-171; 0 finds room, 1 pushes 3 out.

    At 266 both are there: management 20 + 20 + 5 = 45, 266-311; together 311-351.
    """
    plan = small_plan(
        [[[2, 0, 1]]], slots=3, initial=[2, 3], load_overhead=20, evict_overhead=5, grouping="hits_then_rest"
    )
    return plan, Expect(
        layer_end=[[351]],
        waits=[(171, 266, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "management": 45, "experts": 70, "stall_link": 95},
        counters={"evictions": 1},
    )


@case
def both_overheads_on_the_host() -> tuple[Plan, Expect]:
    """0 claims 135, h = 135 + 3 + 25 = 163: issued; 1 claims 163, issued 191 = F. Link 163-227-291.

    0 227-257, 1 291-321. Management 50 is the host's, the stream does not run it.
    """
    return _both(overhead_on="host"), Expect(
        layer_end=[[321]],
        link=[(163, 227, 0), (227, 291, 1)],
        waits=[(191, 227, 0, 0), (257, 291, 1, 1)],
        breakdown={"attention": 100, "router": 20, "control": 21, "management": 50, "experts": 60, "stall_link": 70},
        counters={"stream_busy": 180},
    )


@case
def waiting_load_pays_no_host_overhead() -> tuple[Plan, Expect]:
    """Room for one, holding 2; set 0 1. 0 issued 163 = F, link -227, -257; then 1 takes its place, issued 257, link
    257-321, -351. Management 25, control 18.
    """
    plan = small_plan([[[0, 1]]], slots=1, initial=[2], load_overhead=20, evict_overhead=5, overhead_on="host")
    return plan, Expect(
        layer_end=[[351]],
        link=[(163, 227, 0), (257, 321, 1)],
        breakdown={"attention": 100, "router": 20, "control": 18, "management": 25, "experts": 60, "stall_link": 128},
        counters={"evictions": 2, "waits_for_bytes": 1},
    )


def _prefetched(overhead_on: str) -> Plan:
    """0 is there; (0,1,1) predicted at 135, pushes 2 out of layer 1; 20 per load, 5 per victim; two equal steps."""
    return small_plan(
        [[[0], [1]], [[0], [1]]], slots=1, initial=[(0, 0), (1, 2)], script={(0, 0): [(0, 1, 1)]}, load_overhead=20,
        evict_overhead=5, overhead_on=overhead_on,
    )  # type: ignore[arg-type]  # fmt: skip


@case
def prefetch_is_charged_before_its_first_group() -> tuple[Plan, Expect]:
    """stream: 0 135-165; link 135-199. Layer 1: R = 300: hit, management 25, 300-325-355.

    Step 1: 490-520; R = 655: 685, nothing more to pay.
    """
    return _prefetched("stream"), Expect(
        layer_end=[[165, 355], [520, 685]],
        hits=[[1, 1], [1, 1]],
        link=[(135, 199, 1)],
        breakdown={"attention": 400, "router": 80, "control": 60, "management": 25, "experts": 120},
    )


@case
def prefetch_pays_nothing_on_the_host() -> tuple[Plan, Expect]:
    """host: layer 1 330; step 1: 495, 660."""
    return _prefetched("host"), Expect(
        layer_end=[[165, 330], [495, 660]],
        link=[(135, 199, 1)],
        breakdown={"attention": 400, "router": 80, "control": 60, "experts": 120},
    )


@case
def prefetch_holds_the_link_longer() -> tuple[Plan, Expect]:
    """link: 64 + 25: 135-224. Ends as on the host."""
    return _prefetched("link"), Expect(layer_end=[[165, 330], [495, 660]], link=[(135, 224, 1)])


@case
def shared_alone_then_management() -> tuple[Plan, Expect]:
    """Set 0, missed, shared 10: F = 138, shared 138-148; wait -202; management 20, 202-222; 0 222-252."""
    return small_plan([[[0]]], shared=10, load_overhead=20), Expect(
        layer_end=[[252]],
        waits=[(148, 202, 0, 0)],
        breakdown={
            "attention": 100, "router": 20, "control": 18, "management": 20, "experts": 30, "shared": 10,
            "stall_link": 54,
        },
    )  # fmt: skip


@pytest.mark.parametrize("story", case, ids=lambda f: f.__name__)
def test_micro(story: Callable[[], tuple[Plan, Expect]], simulate: Callable[[Plan], Result]) -> None:
    """The case's numbers, on this engine."""
    check(story, simulate)
