"""The glossary: every figure that moesim reports, as a sentence and as code.

S = steps, L = layers. Ticks are 1 ps; sums are made in integers and divided once, so equal runs give equal digits.
Percentiles are by nearest rank: the smallest value such that at least p % of all values are not larger. A figure that
a run does not define (a hit rate without lookups) is None, and `undefined` says why. `GLOSSARY` holds the definition
of every key of `summary`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result

__all__ = ["GLOSSARY", "PERCENTILES", "STALLS", "Definition", "nearest_rank", "summary"]

Ints = NDArray[np.int64]

PERCENTILES: Final = (50, 95, 99)
STALLS: Final = ("stall_link", "stall_storage", "stall_cache", "stall_cpu")
_PS_PER_MS: Final = 10**9
_PS_PER_S: Final = 10**12


@dataclass(frozen=True)
class Definition:
    """What a figure means, and its unit ("" for counts and words)."""

    unit: str
    text: str


GLOSSARY: Final[dict[str, Definition]] = {
    "tokens": Definition("", "Tokens generated, the first one of each sequence included."),
    "tokens_per_s": Definition(
        "1/s",
        "Generated tokens without the first of each sequence, over the summed duration of all decode steps "
        "(all sequences of a batch together).",
    ),
    "ttft_ms": Definition(
        "ms",
        "Time to first token, mean over sequences: from arrival (the start of the first step of the sequence's batch) "
        "to the end of the step that makes its first token.",
    ),
    "ttft_max_ms": Definition("ms", "The longest time to first token of any sequence."),
    "tpot_ms": Definition(
        "ms",
        "Time per output token after the first: the duration of the decode step that made it, each token counted; "
        "mean and nearest-rank percentiles.",
    ),
    "steps": Definition("", "Steps simulated: prefill chunks; decode steps (one token of each sequence of a batch)."),
    "lookups": Definition(
        "", "Distinct (layer, expert) pairs that steps needed; picks of one expert by several tokens are one."
    ),
    "hits": Definition("", "Lookups that found the expert resident."),
    "late": Definition("", "Lookups that found the expert on its way: queued or being copied."),
    "misses": Definition("", "Lookups that found the expert neither resident nor on its way."),
    "hit_rate": Definition("", "Hits over lookups, prefill included; late ones are not hits."),
    "hit_rate_decode": Definition("", "Hits over lookups of decode steps alone."),
    "loads": Definition("", "Experts that arrived by a transfer, demanded or prefetched."),
    "bytes_loaded": Definition(
        "B", "Bytes of completed chunks of transfers to the accelerator (from storage straight: of whole experts)."
    ),
    "bytes_read": Definition("B", "Bytes of completed storage reads, padding included."),
    "bytes_wasted": Definition("B", "Of the bytes loaded, those of prefetches that were never used."),
    "bytes_per_token": Definition(
        "B", "Bytes whose transfer ended in a decode step, over generated tokens without the first of each sequence."
    ),
    "link_utilization": Definition("", "Share of the elapsed time in which the link was held by a transfer."),
    "storage_utilization": Definition("", "Busy time of all storage lanes over lanes times elapsed time."),
    "compute_utilization": Definition(
        "", "Share of the elapsed time in which the accelerator's stream ran an operation (however efficiently)."
    ),
    "link_peak_bytes_per_s": Definition(
        "B/s", "Rate of an expert's copy without its fixed overheads, the fastest layer's."
    ),
    "storage_peak_bytes_per_s": Definition(
        "B/s", "Largest rate of concurrent reads over all read sizes and busy lanes."
    ),
    "breakdown_ms": Definition(
        "ms", "Where the mean decode step's time goes: exclusive classes that sum to the mean decode step."
    ),
    "breakdown_prefill_ms": Definition(
        "ms", "The same for all prefill steps of a batch together, mean over the batches that have any."
    ),
    "stall_share": Definition(
        "", "Share of decode time in which the stream waited: the four stall classes of breakdown_ms."
    ),
    "resident_share": Definition(
        "", "Experts resident at the end of a step over all routed experts, mean over all steps; pinned ones included."
    ),
    "prefetch": Definition(
        "",
        "Prefetches: issued; used (looked up as hit or late), dropped for want of room, stale (predicted after the "
        "lookup), cancelled; used_share = used / issued.",
    ),
    "evictions": Definition("", "Experts that left a cache to make room."),
    "waits_for_bytes": Definition("", "Loads that had to wait because no resident expert could leave yet."),
    "overshoot_peak_bytes": Definition(
        "B", "Largest excess of any cache over its capacity at any tick (evict: after_layer)."
    ),
    "elapsed_ms": Definition("ms", "Simulated time from the start of the first step to the end of the last."),
    "engine": Definition("", "The engine that ran."),
    "seed": Definition("", "Seed of every random stream."),
    "scenario_hash": Definition("", "sha256 of the resolved scenario."),
    "undefined": Definition("", "Figures that this run does not define, each with the reason."),
}  # fmt: skip
"""Key of `summary` -> definition."""


def nearest_rank(values: Ints, counts: Ints, percent: int) -> int:
    """The nearest-rank percentile of integer `values` [n], value i counted `counts`[i] >= 0 times.

    With N = sum(counts), the value of rank ceil(percent * N / 100), ranks from 1. Raises ValueError when N = 0.

    >>> nearest_rank(np.array([30, 10, 20]), np.array([1, 1, 2]), 50)
    20
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("a percentile of nothing")
    order = np.argsort(values, kind="stable")
    rank = max(1, -(-percent * total // 100))
    return int(values[order][np.searchsorted(np.cumsum(counts[order]), rank)])


class _Figures:
    """Collects figures and, for those that cannot be made, the reason."""

    def __init__(self) -> None:
        self.undefined: dict[str, str] = {}

    def ratio(self, name: str, over: int, under: int, why: str) -> float | None:
        """over / under, correctly rounded; None with `why` when under is 0."""
        if under == 0:
            self.undefined[name] = why
            return None
        return over / under


def _peak_link(plan: Plan) -> tuple[int, int]:
    """(bytes, ticks) of the fastest copy; (0, 0) without a link."""
    if plan.link is None or "link" not in plan.path:
        return 0, 0
    pairs = [
        (int(b), int(t))
        for b, t, moe in zip(plan.expert_bytes, plan.link.transfer_ps, plan.is_moe, strict=True)
        if moe and t
    ]
    return max(pairs, key=lambda p: p[0] / p[1], default=(0, 0))


def _peak_storage(plan: Plan) -> tuple[int, int]:
    """(bytes, ticks) of the highest rate of concurrent reads; (0, 0) without storage."""
    if plan.storage is None or "storage" not in plan.path:
        return 0, 0
    pairs = [
        (busy * size, ticks)
        for size, row in plan.storage.read_ps.items()
        for busy, ticks in enumerate(row)
        if busy and ticks
    ]
    return max(pairs, key=lambda p: p[0] / p[1], default=(0, 0))


def _prefill_breakdown(plan: Plan, result: Result, made: _Figures) -> dict[str, float] | None:
    prefill = plan.step_prefill
    batches = len(np.unique(plan.step_batch[prefill]))
    if not batches:
        made.undefined["breakdown_prefill_ms"] = "no prefill step"
        return None
    sums = result.breakdown_ps[prefill].sum(axis=0).tolist()
    return {name: ticks / (batches * _PS_PER_MS) for name, ticks in zip(BREAKDOWN, sums, strict=True)}


def summary(plan: Plan, result: Result, scenario_hash: str = "") -> dict[str, Any]:
    """Every figure of a run, JSON-ready and free of NaN; `GLOSSARY` defines the keys.

    Times come from ticks of 1 ps (`_ms` = ticks / 1e9, `_per_s` = per 1e12 ticks).
    """
    made = _Figures()
    decode = ~plan.step_prefill
    duration = result.step_end - result.step_start
    later = plan.step_generated - plan.step_first
    elapsed = result.elapsed_ps
    counters = result.counters
    decode_ps = int(duration[decode].sum())
    n_decode, n_later = int(decode.sum()), int(later[decode].sum())
    no_token = "no token after a sequence's first"

    tpot: dict[str, float] | None = None
    if n_later:
        tpot = {"mean": int((duration * later)[decode].sum()) / (n_later * _PS_PER_MS)}
        for p in PERCENTILES:
            tpot[f"p{p}"] = nearest_rank(duration[decode], later[decode], p) / _PS_PER_MS
    else:
        made.undefined["tpot_ms"] = no_token

    first = np.flatnonzero(plan.step_first)
    waits = result.step_end[first] - result.step_start[plan.step_arrival[first]]
    n_first = int(plan.step_first.sum())
    no_first = "no sequence got its first token"
    ttft = made.ratio("ttft_ms", int((waits * plan.step_first[first]).sum()), n_first * _PS_PER_MS, no_first)
    ttft_max = made.ratio("ttft_max_ms", int(waits.max(initial=0)), _PS_PER_MS if n_first else 0, no_first)

    breakdown: dict[str, float] | None = None
    if n_decode:
        sums = result.breakdown_ps[decode].sum(axis=0).tolist()
        breakdown = {name: ticks / (n_decode * _PS_PER_MS) for name, ticks in zip(BREAKDOWN, sums, strict=True)}
    else:
        made.undefined["breakdown_ms"] = "no decode step"
    stalled = int(result.breakdown_ps[decode][:, [BREAKDOWN.index(s) for s in STALLS]].sum())

    hits_decode = int(result.hits[decode].sum())
    lookups_decode = hits_decode + int(result.late[decode].sum()) + int(result.misses[decode].sum())
    lanes = plan.storage.lanes if plan.storage is not None else 0
    link_bytes, link_ps = _peak_link(plan)
    storage_bytes, storage_ps = _peak_storage(plan)
    routed = int(plan.is_moe.sum()) * plan.n_experts
    no_link, no_storage = "no link between host and accelerator", "no storage in the path of an expert"
    issued = counters["prefetches"]
    figures: dict[str, Any] = {
        "tokens": int(plan.step_generated.sum()),
        "tokens_per_s": made.ratio("tokens_per_s", n_later * _PS_PER_S, decode_ps, "no decode step"),
        "ttft_ms": ttft,
        "ttft_max_ms": ttft_max,
        "tpot_ms": tpot,
        "steps": {"prefill": int(plan.step_prefill.sum()), "decode": n_decode},
        **{name: counters[name] for name in ("lookups", "hits", "late", "misses")},
        "hit_rate": made.ratio("hit_rate", counters["hits"], counters["lookups"], "no lookup"),
        "hit_rate_decode": made.ratio("hit_rate_decode", hits_decode, lookups_decode, "no lookup in a decode step"),
        **{name: counters[name] for name in ("loads", "bytes_loaded", "bytes_read", "bytes_wasted")},
        "bytes_per_token": made.ratio("bytes_per_token", int(result.step_bytes[decode].sum()), n_later, no_token),
        "link_utilization": made.ratio(
            "link_utilization", counters["link_busy"], elapsed if "link" in plan.path else 0, no_link
        ),
        "storage_utilization": made.ratio(
            "storage_utilization",
            counters["storage_busy"],
            elapsed * lanes if "storage" in plan.path else 0,
            no_storage,
        ),
        "compute_utilization": made.ratio("compute_utilization", counters["stream_busy"], elapsed, "no step"),
        "link_peak_bytes_per_s": made.ratio("link_peak_bytes_per_s", link_bytes * _PS_PER_S, link_ps, no_link),
        "storage_peak_bytes_per_s": made.ratio(
            "storage_peak_bytes_per_s", storage_bytes * _PS_PER_S, storage_ps, no_storage
        ),
        "breakdown_ms": breakdown,
        "breakdown_prefill_ms": _prefill_breakdown(plan, result, made),
        "stall_share": made.ratio("stall_share", stalled, decode_ps, "no decode step"),
        "resident_share": made.ratio(
            "resident_share", int(result.residency.sum()), routed * plan.n_steps, "no routed experts"
        ),
        "prefetch": {
            "issued": issued,
            **{name: counters[f"prefetch_{name}"] for name in ("used", "dropped", "stale", "cancelled")},
            "used_share": made.ratio("prefetch.used_share", counters["prefetch_used"], issued, "no prefetch issued"),
        },
        "evictions": counters["evictions"],
        "waits_for_bytes": counters["waits_for_bytes"],
        "overshoot_peak_bytes": counters["overshoot_peak"],
        "elapsed_ms": elapsed / _PS_PER_MS,
        "engine": result.engine,
        "seed": plan.seed,
        "scenario_hash": scenario_hash or None,
    }
    if not scenario_hash:
        made.undefined["scenario_hash"] = "the plan was not built from a scenario"
    return {**figures, "undefined": made.undefined}
