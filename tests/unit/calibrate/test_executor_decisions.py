"""The executor's decisions are the engine's: hits, misses, bytes, evictions and residency, layer by layer.

Where the module's docstring says "for all durations", arbitrary positive durations are drawn, links much slower and
much faster than compute included; where it says "fast link", the link outruns all compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moesim.calibrate.capture.executor.decisions import Decider, LayerProgram, Load, Run, slots_of_share
from moesim.routing.generators import generate
from moesim.routing.trace import RoutingTrace
from tests.support.decode_engine import SIZE, Seen, durations, engine, make_trace


def decide(trace: RoutingTrace, **kwargs: Any) -> tuple[list[LayerProgram], list[set[int]]]:
    """All programs, and who is resident after each step."""
    decider = Decider(trace, expert_bytes=SIZE, seed=9, **kwargs)
    programs, residents = [], []
    for program in decider.programs():
        programs.append(program)
        if program.layer == trace.n_layers - 1:
            residents.append(decider.residents())
    check_slots(programs, decider)
    return programs, residents


def check_slots(programs: list[LayerProgram], decider: Decider) -> None:
    """Replay of the physical slots alone: every run finds its own expert in the slot it reads."""
    content: dict[int, tuple[int, int]] = {}
    for program in programs:
        for op in (*program.walk, *program.prefetches, *program.rest):
            assert 0 <= op.slot < decider.n_slots
            if isinstance(op, Load):
                content[op.slot] = (op.layer, op.expert)
            else:
                assert content[op.slot] == (program.layer, op.expert)
        runs = [op for op in program.rest if isinstance(op, Run)]
        assert sorted(r.place for r in runs) == list(range(len(program.experts)))
        assert all(program.experts[r.place] == r.expert for r in runs)


def same(programs: list[LayerProgram], residents: list[set[int]], seen: Seen) -> None:
    """Every count of every layer and token."""
    shape = seen.result.hits.shape
    table = {name: np.zeros(shape, dtype=np.int64) for name in ("hits", "misses", "prefetches")}
    bytes_by_step = np.zeros(shape[0], dtype=np.int64)
    for p in programs:
        table["hits"][p.step, p.layer] = len(p.hits)
        table["misses"][p.step, p.layer] = len(p.misses)
        bytes_by_step[p.step] += SIZE * (len(p.loads) + len(p.prefetches))
        assert list(p.evictions) == seen.evictions[p.step, p.layer]
    np.testing.assert_array_equal(table["hits"], seen.result.hits + seen.result.late)
    np.testing.assert_array_equal(table["misses"], seen.result.misses)
    np.testing.assert_array_equal(bytes_by_step, seen.result.step_bytes)
    counters = seen.result.counters
    assert counters["bytes_loaded"] == bytes_by_step.sum()
    assert counters["evictions"] == sum(len(p.evictions) for p in programs)
    assert counters["prefetches"] == sum(len(p.prefetches) for p in programs)
    assert counters["prefetch_dropped"] == sum(p.dropped for p in programs)
    assert counters["prefetch_used"] == sum(len(p.used) for p in programs)
    assert residents == seen.residents


def gate(recall: float, precision: float, n: int = 64) -> dict[str, Any]:
    return {"experts": n, "recall": [recall], "precision": [precision]}


@pytest.mark.parametrize("link", ["fast", "middle", "slow"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("granularity", [1, 2, 4])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_without_prefetch_for_all_durations(
    share: float, granularity: int, batch: int, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = make_trace(16 * granularity, granularity, batch)
    slots = slots_of_share(trace.n_experts, share)
    programs, residents = decide(trace, slots=slots)
    seen = engine(trace, monkeypatch, slots=slots, ticks=durations(batch + granularity, link))
    same(programs, residents, seen)
    assert any(p.evictions for p in programs) or share in (0.0, 0.75, 1.0)
    assert not seen.result.late.any()


@pytest.mark.parametrize("eviction", ["lru", "fifo", "lfu", "random", "belady"])
@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("link", ["fast", "middle", "slow"])
def test_sets_larger_than_their_cache_in_waves(
    link: str, slots: int, eviction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = make_trace(12, 2, 4)
    programs, residents = decide(trace, slots=slots, eviction=eviction)
    assert any(isinstance(op, Load) for p in programs for op in p.rest)
    same(programs, residents, engine(trace, monkeypatch, slots=slots, eviction=eviction, ticks=durations(slots, link)))


@pytest.mark.parametrize("staging_slots", [1, 2, 7])
def test_no_cache_is_served_through_staging_slots(staging_slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = make_trace(12, 2, 4)
    programs, residents = decide(trace, slots=0, staging_slots=staging_slots)
    seen = engine(trace, monkeypatch, slots=0, staging_slots=staging_slots, ticks=durations(3, "slow"))
    same(programs, residents, seen)
    assert all(p.hits == () and len(p.loads) == len(p.experts) for p in programs)
    assert {op.slot for p in programs for op in p.loads} == set(range(staging_slots))


@pytest.mark.parametrize("grouping", ["each", "hits_then_arrived", "hits_then_rest", "after_all"])
@pytest.mark.parametrize("eviction", ["lru", "lfu", "random"])
@pytest.mark.parametrize("link", ["middle", "slow"])
@pytest.mark.parametrize("batch", [1, 4])
def test_right_guesses_for_all_durations_where_sets_fit(
    batch: int, link: str, eviction: str, grouping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = make_trace(16, 2, batch)
    policy: dict[str, Any] = {"prefetch": "next_gate", "prefetch_params": gate(0.75, 1.0), "eviction": eviction}
    for slots in (8, 12):
        programs, residents = decide(trace, slots=slots, **policy)
        ticks = durations(batch + slots, link)
        seen = engine(trace, monkeypatch, slots=slots, grouping=grouping, ticks=ticks, **policy)
        same(programs, residents, seen)
        assert sum(len(p.prefetches) for p in programs) >= 15
        assert link != "slow" or seen.result.late.sum() > 0


@pytest.mark.parametrize("policy", ["wrong guesses", "previous", "previous in waves", "waves"])
@pytest.mark.parametrize("batch", [1, 4])
def test_any_guesses_on_a_fast_link(policy: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = make_trace(16, 2, batch)
    kwargs: dict[str, Any] = {"prefetch": "next_gate", "prefetch_params": gate(0.7, 0.5)}
    if policy.startswith("previous"):
        kwargs = {"prefetch": "previous"}
    for slots in (1,) if batch == 1 and "waves" in policy else (1, 3) if "waves" in policy else (8, 11):
        programs, residents = decide(trace, slots=slots, **kwargs)
        seen = engine(trace, monkeypatch, slots=slots, ticks=durations(slots, "fast"), **kwargs)
        same(programs, residents, seen)
        moved = sum(len(p.prefetches) for p in programs)
        assert (moved == 0) if policy == "previous" else (moved > 0)
        assert policy != "wrong guesses" or seen.result.counters["bytes_wasted"] > 0
        assert not seen.result.late.any()


def test_a_wrong_guess_on_a_slow_link_is_what_the_docstring_excludes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: late wrong guesses do change the engine's decisions."""
    trace = make_trace(16, 2, 1)
    kwargs: dict[str, Any] = {"prefetch": "next_gate", "prefetch_params": gate(0.7, 0.4)}
    _, residents = decide(trace, slots=4, **kwargs)
    seen = engine(trace, monkeypatch, slots=4, ticks=durations(1, "slow"), **kwargs)
    assert residents != seen.residents


def test_hand_made_order() -> None:
    """Two slots, one layer, LRU: {0, 1}; {2, 0}: 1 leaves; {1, 2}: 0 leaves."""
    experts = np.array([[[0, 1]], [[2, 0]], [[1, 2]]], dtype=np.int16)
    trace = RoutingTrace(
        experts=experts, sequence_ptr=np.array([0, 3]), prompt_tokens=np.zeros(1, dtype=np.int32), n_experts=3
    )
    programs, residents = decide(trace, slots=2)
    assert [(p.hits, p.misses, p.evictions) for p in programs] == [
        ((), (0, 1), ()),
        ((0,), (2,), (1,)),
        ((2,), (1,), (0,)),
    ]
    assert residents == [{0, 1}, {0, 2}, {1, 2}]
    assert programs[1].walk == (Load(0, 2, 1),)
    assert programs[1].rest == (Run(0, 0, 1, 0), Run(2, 1, 0, 2))


def test_refuses_what_it_cannot_follow() -> None:
    trace = make_trace(8, 2, 2)
    uneven = generate("uniform", n_layers=1, n_experts=4, top_k=1, tokens=[3, 4], seed=1)
    with pytest.raises(ValueError, match="one length"):
        Decider(uneven, slots=1, expert_bytes=1)
    weighted = RoutingTrace(
        experts=trace.experts,
        weights=np.ones(trace.experts.shape, dtype=np.float32),
        sequence_ptr=trace.sequence_ptr,
        prompt_tokens=trace.prompt_tokens,
        n_experts=8,
    )
    with pytest.raises(ValueError, match="router weights"):
        Decider(weighted, slots=1, expert_bytes=1)
    with pytest.raises(ValueError, match="cache share"):
        slots_of_share(8, 1.5)
