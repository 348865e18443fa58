"""Comparison of two results, to the tick and to the counter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moesim.errors import StuckError
from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result

__all__ = ["difference", "outcome"]

_ARRAYS = (
    "hits", "late", "misses", "layer_end", "step_start", "step_end", "breakdown_ps", "layer_stall_ps", "step_bytes",
    "residency",
)  # fmt: skip


def outcome(simulate: Callable[[Plan], Result], plan: Plan) -> Result | str:
    """The result, or "stuck", or the error that no run may end with."""
    try:
        return simulate(plan)
    except StuckError:
        return "stuck"
    except Exception as error:
        return f"error {type(error).__name__}: {str(error).splitlines()[:1]}"


def _first(one: Result, two: Result, name: str) -> tuple[int, int, str] | None:
    """(step, column, words) of the first difference of an array."""
    a, b = getattr(one, name), getattr(two, name)
    if a.shape != b.shape:
        return 0, 0, f"{name} shape: {one.engine} {a.shape}, {two.engine} {b.shape}"
    where = np.argwhere(a != b)
    if not len(where):
        return None
    at = tuple(int(x) for x in where[0])
    place = f"step {at[0]}"
    if name == "breakdown_ps":
        place += f", {BREAKDOWN[at[1]]}"
    elif len(at) > 1:
        place += f", layer {at[1]}"
    return at[0], at[1] if len(at) > 1 else 0, f"{name} at {place}: {one.engine} {a[at]}, {two.engine} {b[at]}"


def _bars(result: Result) -> dict[str, list[tuple[object, ...]]]:
    """What the timeline says beyond the arrays: who computed when, who held the link when, when storage read.

    Reads that the end of the run cuts are left out.
    """
    last = int(result.step_end[-1]) if len(result.step_end) else 0
    return {
        "groups": sorted(
            (x.start, x.end, x.step, x.layer, tuple(sorted(x.experts)))
            for x in result.timeline
            if x.lane == "stream" and x.name == "experts"
        ),
        "link": sorted((x.start, x.end, x.layer, x.experts, x.transfer) for x in result.timeline if x.lane == "link"),
        "storage": sorted(
            (x.start, x.end, x.lane) for x in result.timeline if x.lane.startswith("storage") and x.end < last
        ),
    }


def difference(one: Result | str, two: Result | str) -> str:
    """The earliest thing in which two results differ, in words; empty when they are equal."""
    if isinstance(one, str) or isinstance(two, str):
        names = [r if isinstance(r, str) else f"{r.engine} runs" for r in (one, two)]
        fine = one == two == "stuck"
        return "" if fine else f"outcome: {names[0]} / {names[1]}"
    # of all arrays, the earliest step tells most; of one step, the order of _ARRAYS
    found = [(d[0], i, d[2]) for i, name in enumerate(_ARRAYS) if (d := _first(one, two, name))]
    if found:
        return min(found)[2]
    if one.waits != two.waits:
        pairs = zip([*one.waits, None], [*two.waits, None], strict=False)
        a, b = next((x, y) for x, y in pairs if x != y)
        return f"waits: {one.engine} {a}, {two.engine} {b}"
    for name in {**one.counters, **two.counters}:
        a, b = one.counters.get(name), two.counters.get(name)
        if a != b:
            return f"counter {name}: {one.engine} {a}, {two.engine} {b}"
    mine, other = _bars(one), _bars(two)
    for lane, bars in mine.items():
        if bars != other[lane]:
            x, y = next((x, y) for x, y in zip([*bars, None], [*other[lane], None], strict=False) if x != y)
            return f"timeline, {lane}: {one.engine} {x}, {two.engine} {y}"
    return ""
