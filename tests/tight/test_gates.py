"""Gates to the tick and to the byte: what happens at t does not happen at t - 1 (or with one byte less).

Numbers unless said otherwise (tests/support/plans.py): attention 100, router 20, d2h_sync 10, lookup 5, so that the
lookup R of a layer that starts at 0 is 135; here issue is 0 unless said, so that F = R. t0 0, D 60 for 60 bytes, one
expert computes 30, two together 40. `layer_start` predicts t_pred after the layer's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.plans import small_plan

Engine = Callable[[Plan], Result]


def served(run: Result, lane: str = "link") -> list[tuple[int, int, int]]:
    """(start, end, expert) of every bar of a lane (a prefix: `storage` is all of them)."""
    bars = [b for b in run.timeline if b.lane.startswith(lane)]
    return sorted((b.start, b.end, b.experts[0]) for b in bars)


def groups(run: Result) -> list[tuple[int, int, tuple[int, ...]]]:
    bars = [b for b in run.timeline if b.lane == "stream" and b.name == "experts"]
    return sorted((b.start, b.end, tuple(sorted(b.experts))) for b in bars)


def plan(sets: Any, **options: Any) -> Plan:
    return small_plan(sets, **{"issue": 0, "t0": 0, "source": "layer_start", **options})


@pytest.mark.parametrize("discipline", ["fifo", "two_level"])
@pytest.mark.parametrize(
    ("t_pred", "link"),
    [
        (134, [(134, 194, 7), (194, 254, 0)]),  # the prefetch was there a tick earlier
        (135, [(135, 195, 0), (195, 255, 7)]),  # both could start at 135: the demand does
    ],
)
def test_a_demand_beats_a_prefetch_of_the_same_tick(
    simulate: Engine, discipline: str, t_pred: int, link: list[tuple[int, int, int]]
) -> None:
    """Layer 0 wants 0 (miss, issued at 135); 7 is predicted for layer 1, which wants and gets it."""
    run = simulate(plan([[[0], [7]]], script={(0, 0): [(0, 1, 7)]}, t_pred=t_pred, discipline=discipline))
    assert served(run) == link
    assert (run.counters["misses"], run.counters["hits"] + run.counters["late"]) == (1, 1)


@pytest.mark.parametrize(
    ("t_pred", "link"),
    [
        # prefetches 6 and 7 for layer 1; 6 runs t_pred to t_pred + 60; the demand for 0 comes at 135
        (74, [(74, 134, 6), (134, 194, 7), (194, 254, 0)]),
        (75, [(75, 135, 6), (135, 195, 0), (195, 255, 7)]),
        (76, [(76, 136, 6), (136, 196, 0), (196, 256, 7)]),
    ],
)
def test_a_demand_that_comes_when_the_link_is_let_go(
    simulate: Engine, t_pred: int, link: list[tuple[int, int, int]]
) -> None:
    """two_level, one chunk: at the tick of the pick HIGH goes before a LOW that has waited for long."""
    run = simulate(
        plan([[[0], [6, 7]]], script={(0, 0): [(0, 1, 6), (0, 1, 7)]}, t_pred=t_pred, discipline="two_level")
    )
    assert served(run) == link


@pytest.mark.parametrize(
    ("t_pred", "link"),
    [
        # chunks of 20: boundaries at t_pred + 20 and t_pred + 40; the demand joins HIGH at 135
        (114, [(114, 154, 7), (154, 214, 0), (214, 234, 7)]),
        (115, [(115, 135, 7), (135, 195, 0), (195, 235, 7)]),
        (116, [(116, 136, 7), (136, 196, 0), (196, 236, 7)]),
    ],
)
def test_a_chunk_boundary_at_the_tick_of_a_high_arrival(
    simulate: Engine, t_pred: int, link: list[tuple[int, int, int]]
) -> None:
    """A HIGH that joins at the very tick of a chunk end is served then; a tick after it, at the next chunk end."""
    run = simulate(plan([[[0], [7]]], script={(0, 0): [(0, 1, 7)]}, t_pred=t_pred, discipline="two_level", chunks=3))
    assert served(run) == link


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (60, [(135, 195, (0,)), (195, 255, (1,)), (255, 315, (2,))]),  # 1 arrives at 195, 2 at 255
        (119, [(135, 254, (0,)), (254, 373, (1,)), (373, 492, (2,))]),
        (120, [(135, 255, (0,)), (255, 400, (1, 2))]),
    ],
)
def test_an_arrival_at_the_tick_the_stream_frees_joins_the_group(
    simulate: Engine, one: int, expected: list[tuple[int, int, tuple[int, ...]]]
) -> None:
    run = simulate(plan([[[0, 1, 2]]], initial=[0], one=one, two=145))
    assert groups(run) == expected


@pytest.mark.parametrize(("capacity", "second"), [(120, 195), (119, 225)])
def test_a_claim_to_the_byte(simulate: Engine, capacity: int, second: int) -> None:
    """Two misses of 60 bytes. With 120 both go at 135; with 119 the second waits until the first is computed."""
    run = simulate(plan([[[0, 1]]], capacity=capacity))
    assert served(run) == [(135, 195, 0), (second, second + 60, 1)]
    assert run.counters["waits_for_bytes"] == int(capacity < 120)


@pytest.mark.parametrize(("capacity", "evictions"), [(140, 0), (139, 1), (100, 1), (99, 2), (60, 2)])
def test_victims_to_the_byte(simulate: Engine, capacity: int, evictions: int) -> None:
    """Two experts of 40 bytes in a cache of both layers; one of 60 comes. Free bytes: capacity - 80 (at 60: 20)."""
    initial = [(0, 0), (0, 1)]
    run = simulate(
        plan([[[0], [2]]], n_experts=3, expert_bytes=[40, 60], capacity=("global", capacity), initial=initial)
    )
    # a cache of 60 holds one of the two from the start, so there is one to evict
    assert run.counters["evictions"] == (1 if capacity == 60 else evictions)
    assert run.residency[0].tolist() == [2 - evictions, 1]


@pytest.mark.parametrize(("capacity", "slot"), [(60, False), (59, True)])
def test_an_expert_that_exceeds_its_cache_by_a_byte(simulate: Engine, capacity: int, slot: bool) -> None:
    """60 bytes in a cache of 60 stay; in a cache of 59 they pass through a staging slot and are gone."""
    run = simulate(plan([[[0]], [[0]]], capacity=capacity))
    assert run.residency.tolist() == [[int(not slot)], [int(not slot)]]
    assert run.counters["hits"] == int(not slot)


@pytest.mark.parametrize(("t_pred", "dropped"), [(134, 1), (135, 0)])
def test_a_prefetch_slot_frees_at_the_lookup(simulate: Engine, t_pred: int, dropped: int) -> None:
    """One staging slot. 5, predicted for layer 1 and wrong, fills it until that layer's lookup at 165 + 135 = 300.

    Layer 1 predicts 7 for layer 2 at 165 + t_pred: at 299 the slot is taken, at 300 it is free.
    """
    run = simulate(
        plan(
            [[[0], [1], [7]]], n_experts=8, initial=[(0, 0), (1, 1)], into="staging", prefetch_slots=1, t_pred=t_pred,
            script={(0, 0): [(0, 1, 5)], (0, 1): [(0, 2, 7)]},
        )
    )  # fmt: skip
    assert run.counters["prefetch_dropped"] == dropped
    # a dropped one is missed at 330 + 135
    assert served(run) == [(t_pred, t_pred + 60, 5), ((465, 525, 7) if dropped else (300, 360, 7))]
    assert run.counters["bytes_wasted"] == 60


@pytest.mark.parametrize(
    ("issue", "reads"),
    [
        (49, [(184, 234, 0), (234, 284, 1)]),  # issued at 233, the lane is free at 234
        (50, [(185, 235, 0), (235, 285, 1)]),  # issued at 235 and free at 235
        (51, [(186, 236, 0), (237, 287, 1)]),
    ],
)
def test_a_lane_is_used_at_the_tick_it_frees(simulate: Engine, issue: int, reads: list[tuple[int, int, int]]) -> None:
    run = simulate(plan([[[0, 1]]], issue=issue, path="storage", lanes=1, read_ps=50))
    assert served(run, "storage") == reads


@pytest.mark.parametrize(
    ("issue", "reads"), [(49, [(184, 234, 0), (233, 333, 1)]), (50, [(185, 235, 0), (235, 285, 1)])]
)
def test_a_lane_that_frees_at_t_is_not_busy_at_t(
    simulate: Engine, issue: int, reads: list[tuple[int, int, int]]
) -> None:
    """Two lanes share: a read lasts 50 * busy at its start. At 235 the first has ended, so the second is alone."""
    run = simulate(plan([[[0, 1]]], issue=issue, path="storage", lanes=2, read_ps=lambda size, busy: 50 * busy))
    assert served(run, "storage") == reads


@pytest.mark.parametrize(("t_pred", "outcome"), [(134, "late"), (135, "misses")])
def test_a_prediction_due_at_its_targets_lookup_is_stale(simulate: Engine, t_pred: int, outcome: str) -> None:
    run = simulate(plan([[[0]]], script={(0, 0): [(0, 0, 0)]}, t_pred=t_pred))
    assert run.counters[outcome] == 1
    assert run.counters["prefetch_stale"] == int(outcome == "misses")
    assert served(run) == [(t_pred, t_pred + 60, 0)]


@pytest.mark.parametrize("discipline", ["fifo", "two_level"])
@pytest.mark.parametrize(("t_pred", "outcome", "end"), [(75, "hits", 165), (76, "late", 166)])
def test_an_arrival_at_the_lookup_is_a_hit(
    simulate: Engine, discipline: str, t_pred: int, outcome: str, end: int
) -> None:
    """The copy takes 60 and the lookup is at 135: begun at 75 it is a hit, begun at 76 a late one."""
    run = simulate(plan([[[0]]], script={(0, 0): [(0, 0, 0)]}, t_pred=t_pred, discipline=discipline))
    assert run.counters[outcome] == 1
    assert run.layer_end.tolist() == [[end]]


@pytest.mark.parametrize(
    ("t_pred", "cancelled", "wasted"),
    [(75, 0, 60), (76, 0, 60), (94, 0, 60), (95, 1, 40), (96, 1, 40), (114, 1, 40), (115, 1, 20), (116, 1, 20)],
)
def test_cancellation_at_a_chunk_end(simulate: Engine, t_pred: int, cancelled: int, wasted: int) -> None:
    """Chunks of 20; 5 is predicted for this layer and is not selected at 135.

    Begun at 75 it is complete at 135; from 76 to 94 it is in its last chunk and completes like any other. At 95 its
    second chunk ends at 135 itself, and it vanishes at once; at 96 that chunk still runs, until 136, and then it
    vanishes. At 114 the second has just begun and is still moved, at 115 it does not begin.
    """
    run = simulate(
        plan([[[0]]], n_experts=6, initial=[0], script={(0, 0): [(0, 0, 5)]}, t_pred=t_pred, discipline="two_level",
             chunks=3)
    )  # fmt: skip
    assert (run.counters["prefetch_cancelled"], run.counters["bytes_wasted"]) == (cancelled, wasted)


@pytest.mark.parametrize(("t_pred", "link"), [(29, [(300, 360, 1)]), (30, [(165, 225, 1)])])
def test_a_victim_is_taken_when_its_compute_ends(
    simulate: Engine, t_pred: int, link: list[tuple[int, int, int]]
) -> None:
    """Room for one expert. Step 0 computes 0 from 135 to 165 and predicts 1 for step 1 at 135 + t_pred.

    At 165, the tick of the unpin, 1 takes the place of 0; at 164 it is dropped and missed at 165 + 135.
    """
    run = simulate(
        plan([[[0]], [[1]]], slots=1, initial=[0], source="lookup", t_pred=t_pred, script={(0, 0): [(1, 0, 1)]})
    )
    assert served(run) == link
    assert run.counters["prefetch_dropped"] == int(t_pred == 29)
