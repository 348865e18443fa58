"""Micro-scenarios: a tiny plan, what a run of it must give, worked out by hand, and the comparison.

A case is a function without arguments that returns (plan, Expect); its docstring tells the story and shows the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result

__all__ = ["STILL", "Cases", "Expect", "check"]

STILL: Mapping[str, Any] = {"attention": 0, "router": 0, "d2h": 0, "lookup": 0, "issue": 0}
"""Nothing but experts takes time: the lookup of a layer happens at its start."""


@dataclass(frozen=True, kw_only=True)
class Expect:
    """What a case must give; what is None or left out is not compared (breakdown columns left out must be zero)."""

    layer_end: Sequence[Sequence[int]]
    step_end: Sequence[int] | None = None
    """Default: the end of each step's last layer."""
    hits: Sequence[Sequence[int]] | None = None
    late: Sequence[Sequence[int]] | None = None
    misses: Sequence[Sequence[int]] | None = None
    link: Sequence[tuple[int, int, int]] | None = None
    """(start, end, expert) of each service on the link."""
    reads: Sequence[tuple[int, int, int]] | None = None
    """(start, end, expert) of each read, sorted."""
    groups: Sequence[tuple[int, int, tuple[int, ...]]] | None = None
    """(start, end, experts ascending) of each group's expert part."""
    waits: Sequence[tuple[int, int, int, int]] | None = None
    """(start, end, expert, transfer)."""
    breakdown: Mapping[str, int] | None = None
    """Columns summed over the steps."""
    residency: Sequence[Sequence[int]] | None = None
    step_bytes: Sequence[int] | None = None
    counters: Mapping[str, int] = field(default_factory=dict)


Case = Callable[[], tuple[Plan, Expect]]


class Cases(list[Case]):
    """The cases of one file; calling it with a function (as a decorator) adds that function."""

    def __call__(self, function: Case) -> Case:
        """Add one case."""
        self.append(function)
        return function


def _laws(plan: Plan, result: Result) -> None:
    """What holds for every run: the breakdown sums to the step, steps follow on one another, lookups are told apart."""
    starts, ends = result.step_start.tolist(), result.step_end.tolist()
    assert starts[0] == 0
    assert starts[1:] == ends[:-1]
    assert result.breakdown_ps.sum(axis=1).tolist() == [b - a for a, b in zip(starts, ends, strict=True)]
    stalls = [BREAKDOWN.index(c) for c in ("stall_link", "stall_storage", "stall_cache", "stall_cpu")]
    assert result.breakdown_ps[:, stalls].sum(axis=1).tolist() == result.layer_stall_ps.sum(axis=1).tolist()
    assert sum(w.end - w.start for w in result.waits) == int(result.layer_stall_ps.sum())
    for name in ("hits", "late", "misses"):
        assert int(getattr(result, name).sum()) == result.counters[name]
    assert result.counters["lookups"] == sum(result.counters[name] for name in ("hits", "late", "misses"))
    assert result.counters["lookups"] == len(plan.set_expert)
    link = sorted((b.start, b.end) for b in result.timeline if b.lane == "link")
    assert all(b <= c for (_, b), (c, _) in pairwise(link)), "one service at a time"


def _seen(plan: Plan, result: Result) -> dict[str, Any]:
    """The result in the words of Expect."""
    local = plan.n_experts
    bars = sorted(result.timeline, key=lambda b: (b.start, b.end))
    link = [(b.start, b.end, b.experts[0] % local) for b in bars if b.lane == "link"]
    reads = [(b.start, b.end, b.experts[0] % local) for b in bars if b.lane.startswith("storage")]
    groups = [
        (b.start, b.end, tuple(sorted(e % local for e in b.experts)))
        for b in bars
        if b.lane == "stream" and b.name == "experts"
    ]
    totals = result.breakdown_ps.sum(axis=0).tolist()
    return {
        "layer_end": result.layer_end.tolist(),
        "step_end": result.step_end.tolist(),
        "hits": result.hits.tolist(),
        "late": result.late.tolist(),
        "misses": result.misses.tolist(),
        "link": link,
        "reads": sorted(reads),
        "groups": groups,
        "waits": [(w.start, w.end, w.expert % local, w.transfer) for w in result.waits],
        "breakdown": {name: ticks for name, ticks in zip(BREAKDOWN, totals, strict=True) if ticks},
        "residency": result.residency.tolist(),
        "step_bytes": result.step_bytes.tolist(),
    }


def check(case: Case, simulate: Callable[[Plan], Result]) -> None:
    """Run one case on one engine and compare all that the case says."""
    plan, expect = case()
    result = simulate(plan)
    _laws(plan, result)
    seen = _seen(plan, result)
    wanted: dict[str, Any] = {
        name: [list(row) if isinstance(row, list) else row for row in value] if name != "breakdown" else dict(value)
        for name in seen
        if (value := getattr(expect, name)) is not None
    }
    wanted.setdefault("step_end", [row[-1] for row in expect.layer_end])
    assert {name: seen[name] for name in wanted} == wanted
    assert {name: result.counters[name] for name in expect.counters} == dict(expect.counters)
