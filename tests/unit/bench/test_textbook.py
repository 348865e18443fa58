"""The textbook model answers the same question as the engine, the plain way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moesim.bench.shapes import decode_plan, qwen3_30b
from moesim.bench.textbook import Textbook
from moesim.engine.reference import simulate
from moesim.plan.plan import LinkPlan, Plan, PolicyPlan


def _tiny(**changes: object) -> Plan:
    options = {"tokens": 30, "layers": 3, "experts": 16, "top_k": 4, "slots": 7, "chunks": 3}
    return decode_plan(**(options | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slots", [4, 7, 16])
def test_hits_and_misses_are_the_engines_without_prefetch(seed: int, slots: int) -> None:
    plan = _tiny(seed=seed, slots=slots)
    ours, theirs = simulate(plan).counters, Textbook(plan).run()
    assert (ours["hits"], ours["late"], ours["misses"]) == (theirs.hits, theirs.late, theirs.misses)
    assert theirs.hits + theirs.misses == 30 * 3 * 4
    assert theirs.hits > 0


def test_qwen3_hits_are_the_engines_and_token_times_are_near() -> None:
    plan = qwen3_30b(tokens=6)
    ours, theirs = simulate(plan), Textbook(plan).run()
    assert ours.counters["hits"] == theirs.hits
    assert theirs.elapsed_ps == pytest.approx(ours.elapsed_ps, rel=0.05)


def test_one_layer_all_hits_by_hand() -> None:
    """attention 40, router 5, sync and lookup 15, 4 experts of 12 one by one, head 600, gap 100 (us)."""
    plan = _tiny(tokens=1, layers=1, slots=16)
    assert Textbook(plan).run().elapsed_ps == (40 + 5 + 15 + 4 * 12 + 600 + 100) * 10**6


def test_a_miss_costs_its_copy_and_its_compute_by_hand() -> None:
    """Top-1 from an empty cache: issue 3, t0 4, copy 378, then compute 12."""
    plan = replace(_tiny(tokens=1, layers=1, top_k=1), initial=())
    assert Textbook(plan).run().elapsed_ps == (40 + 5 + 15 + 3 + 4 + 378 + 12 + 600 + 100) * 10**6
    assert simulate(plan).elapsed_ps == Textbook(plan).run().elapsed_ps


def test_events_of_one_layer_by_hand() -> None:
    """Process start, 3 events for each of attention, router and head; control, issue, gap; all_of; by expert start,
    turn, timeout, release, end; by load start, turn, chunks, release, arrival, end; the end of the run, which SimPy's
    run(until=process) schedules twice."""
    plan = replace(_tiny(tokens=1, layers=1, top_k=1), initial=())
    assert Textbook(plan).run().events == 1 + 3 * 3 + 3 + 1 + 5 + (5 + 3) + 2


def test_prefetch_loads_four_a_layer_and_is_used() -> None:
    with_prefetch, without = (Textbook(qwen3_30b(tokens=5, prefetch=n)).run() for n in (4, 0))
    assert 0 < with_prefetch.prefetches <= 5 * 47 * 4
    assert with_prefetch.late > 0
    assert with_prefetch.misses < without.misses


def test_a_demand_overtakes_prefetches_between_chunks() -> None:
    fifo, two_level = (Textbook(_tiny(tokens=20, prefetch=4, discipline=d)).run() for d in ("fifo", "two_level"))
    assert two_level.events > fifo.events
    assert two_level.elapsed_ps != fifo.elapsed_ps


def test_magnitude_of_events_on_the_qwen3_shape() -> None:
    run = Textbook(qwen3_30b(tokens=10, prefetch=4)).run()
    assert 4_000 < run.events / 10 < 5_000


@pytest.mark.parametrize(
    "change",
    [
        {"eviction": PolicyPlan(kind="fifo")},
        {"link": None, "path": "storage"},
    ],
)
def test_refuses_what_it_does_not_model(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="textbook model"):
        Textbook(replace(_tiny(), **change))  # type: ignore[arg-type]


def test_the_plans_chunks_do_not_change_the_time_of_a_copy() -> None:
    plan = replace(_tiny(tokens=2), initial=())
    assert plan.link is not None
    whole = replace(plan, link=LinkPlan(**{**vars(plan.link), "chunks": 1}))
    assert Textbook(plan).run().elapsed_ps == Textbook(whole).run().elapsed_ps
