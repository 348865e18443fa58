"""Every law holds for the toy run, and every law catches a result that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moesim.errors import InvariantError
from moesim.plan.plan import Plan
from moesim.results.invariants import check
from moesim.results.result import BREAKDOWN, Result

Run = tuple[Plan, Result]


def changed(array: np.ndarray[Any, Any], at: Any, by: int) -> np.ndarray[Any, Any]:
    copy = array.copy()
    copy[at] += by
    return copy


def counted(result: Result, **by: int) -> Result:
    return replace(result, counters=result.counters | {k: result.counters[k] + v for k, v in by.items()})


def early(plan: Plan, result: Result) -> Run:
    """A group that starts before the copy of one of its experts has ended."""
    timeline = list(result.timeline)
    copy = next(s for s in timeline if s.name == "copy")
    at = next(
        i for i, s in enumerate(timeline)
        if s.name == "experts" and s.step == copy.step and s.layer == copy.layer and copy.experts[0] in s.experts
    )  # fmt: skip
    timeline[at] = replace(timeline[at], start=copy.end - 1)
    return plan, replace(result, timeline=timeline)


def overlap(plan: Plan, result: Result) -> Run:
    copies = [i for i, s in enumerate(result.timeline) if s.name == "copy"]
    timeline = list(result.timeline)
    first, second = timeline[copies[0]], timeline[copies[1]]
    timeline[copies[1]] = replace(second, start=first.end - 1)
    return plan, replace(result, timeline=timeline)


def twice(plan: Plan, result: Result) -> Run:
    picks = plan.picks.copy()
    picks[1] = picks[0]
    return replace(plan, picks=picks), result


BREAKS: dict[str, tuple[str, Callable[[Plan, Result], Run]]] = {
    "bytes loaded that nothing moved": ("I1", lambda p, r: (p, counted(r, bytes_loaded=1))),
    "more waste than loads": ("I1", lambda p, r: (p, counted(r, bytes_wasted=10**15))),
    "a load too many": ("I1", lambda p, r: (p, counted(r, loads=1))),
    "storage read without storage": ("I1", lambda p, r: (p, counted(r, bytes_read=1))),
    "over capacity": ("I2", lambda p, r: (p, replace(r, residency=changed(r.residency, (3, 2), 3)))),
    "overshoot on claim": ("I2", lambda p, r: (p, counted(r, overshoot_peak=1))),
    "one expert twice": ("I3", twice),
    "pairs and picks": ("I3", lambda p, r: (replace(p, set_pairs=changed(p.set_pairs, 0, 1)), r)),
    "computed before it is there": ("I4", early),
    "a lane twice": ("I5", overlap),
    "a gap between steps": ("I5", lambda p, r: (p, replace(r, step_start=changed(r.step_start, 4, 1)))),
    "layers backwards": ("I5", lambda p, r: (p, replace(r, layer_end=changed(r.layer_end, (2, 1), 10**12)))),
    "busier than the clock": ("I5", lambda p, r: (p, counted(r, link_busy=10**15))),
    "a hit too many": ("I6", lambda p, r: (p, replace(r, hits=changed(r.hits, (1, 1), 1)))),
    "a hit counted twice": ("I6", lambda p, r: (p, counted(r, hits=1))),
    "a lookup lost": ("I6", lambda p, r: (p, counted(r, lookups=-1))),
    "attention in no time": (
        "I8",
        lambda p, r: (p, replace(r, breakdown_ps=changed(changed(r.breakdown_ps, (2, 0), -5), (2, 4), 5))),
    ),
    "a link faster than itself": ("I8", lambda p, r: (p, counted(r, link_busy=-(10**10)))),
    "a tick lost": ("I11", lambda p, r: (p, replace(r, breakdown_ps=changed(r.breakdown_ps, (2, 0), -1)))),
    "a wait lost": ("I11", lambda p, r: (p, replace(r, waits=r.waits[1:]))),
    "an idle stream that works": ("I11", lambda p, r: (p, counted(r, stream_busy=1))),
}


def test_the_toy_obeys_every_law(toy: Run) -> None:
    check(*toy)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_law_is_named(toy: Run, name: str) -> None:
    law, breaks = BREAKS[name]
    with pytest.raises(InvariantError, match=f"^{law}: "):
        check(*breaks(*toy))


def test_the_message_has_the_place(toy: Run) -> None:
    plan, result = toy
    column = BREAKDOWN.index("attention")
    broken = replace(result, breakdown_ps=changed(result.breakdown_ps, (5, column), 7))
    with pytest.raises(InvariantError, match=r"I11: sum of the classes of each step at \(5,\): \d+, not \d+"):
        check(plan, broken)
