"""How the shipped profiles were made, so that they can be made again: each function takes the folder of measured data.

    for make in (gpt_oss_20b, qwen3_30b_a3b, mixtral_8x7b):
        profile = make(folder)
        write_profile(profile, Path(f"moesim/routing/profiles/{profile.name}.yaml"))

Every profile is fitted to all of its data; its error is measured on data left out of a fit by the same procedure.
Takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moesim.core.streams import draws, stream_id
from moesim.routing.fit import fit, hit_error, with_error
from moesim.routing.generators import generate, zipf_weights
from moesim.routing.importers import read
from moesim.routing.memory import Memory, walk
from moesim.routing.profile import Profile
from moesim.routing.reuse import hit_rates, reuse_counts, reuse_counts_of
from moesim.routing.trace import RoutingTrace

__all__ = ["gpt_oss_20b", "joined", "mixtral_8x7b", "qwen3_30b_a3b"]

_CURVES = "harshithkantamneni/moe-speed-of-light policy_study (LRU, one cache for each layer)"


def joined(traces: Sequence[RoutingTrace]) -> RoutingTrace:
    """Sequences of several recordings of one model as one trace, sorted by name within each."""
    parts = [t.select(sorted(range(t.n_sequences), key=t.name)) for t in traces]
    lengths = np.concatenate([np.diff(p.sequence_ptr) for p in parts])
    scored = [p.weights for p in parts if p.weights is not None]
    return replace(
        parts[0],
        experts=np.concatenate([p.experts for p in parts]),
        weights=np.concatenate(scored) if len(scored) == len(parts) else None,
        sequence_ptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        prompt_tokens=np.concatenate([p.prompt_tokens for p in parts]),
        names=tuple(f"{i}/{p.name(s)}" for i, p in enumerate(parts) for s in range(p.n_sequences)),
        header={},
    )


def gpt_oss_20b(data: Path) -> Profile:
    """22 decode recordings; judged by fitting on every other sequence, both ways round."""
    folder = data / "routing" / "gpt-oss-20b"
    trace = joined([read(path) for path in sorted(folder.glob("*.parquet"))])
    source = (
        "AmanPriyanshu/GPT-OSS-MoE-ExpertFingerprinting, commit 72b368f6, Apache-2.0: decode routing of 22 sequences "
        "(gpqa_main, mmlu_dev, mmlu_validation), 8,046 tokens"
    )
    capacities = [4, 6, 8, 12, 16, 20, 24, 28, 32]
    even, odd = (trace.select(range(first, trace.n_sequences, 2)) for first in (0, 1))
    tables = {}
    for label, known, unknown in (("fitted_even_judged_odd", even, odd), ("fitted_odd_judged_even", odd, even)):
        tables[label] = hit_error(fit(known, name="gpt-oss-20b", source=source), unknown, capacities)
    profile = fit(trace, name="gpt-oss-20b", source=source)
    return with_error(profile, **tables, shipped_in_sample=hit_error(profile, trace, capacities))


def qwen3_30b_a3b(data: Path) -> Profile:
    """One conversation of 156 tokens with 6 of 8 experts; judged on its last third, and against a published curve."""
    trace = read(data / "timed" / "oneplus-15r" / "qwen3-30b-a3b" / "route.csv.gz")
    source = (
        "Helldez/BigMoeOnEdge, commit 2d4f2b11, Apache-2.0: one conversation of 28 + 128 tokens, Qwen3-30B-A3B Q4_K_M, "
        "6 experts for each token"
    )
    capacities = [6, 8, 16, 24, 32, 48, 64, 96, 128]
    seen = 104
    early = replace(
        trace,
        experts=trace.experts[:seen],
        weights=None if trace.weights is None else trace.weights[:seen],
        sequence_ptr=np.array([0, seen], dtype=np.int64),
    )
    part = fit(early, name="qwen3-30b-a3b", source=source)
    profile = fit(trace, name="qwen3-30b-a3b", source=source)
    published = _published_curve(data, "qwen3-30b", {"1/8": 16, "1/4": 32, "3/8": 48})
    long = generate(
        "profile", n_layers=48, n_experts=128, top_k=8, tokens=[512] * 2, seed=1, params={"profile": profile}
    )
    rates = hit_rates(*reuse_counts_of(long))
    return with_error(
        profile,
        fitted_tokens_0_to_103_judged_104_to_155=hit_error(part, trace, capacities, count_from=seen),
        shipped_in_sample=hit_error(profile, trace, capacities),
        shipped_top_8_of_512_tokens_judged_published={"source": _CURVES, **_compare(published, rates)},
    )


def mixtral_8x7b(data: Path) -> Profile:
    """No recording: repetition from Mixtral's own table, level and skew from a published LRU curve.

    Table: how often consecutive tokens share an expert, at layers 0, 15 and 31, over eight domains. Assumed between:
    a plateau at the level of layer 15, reached over `ramp` layers from both ends. One Zipf exponent for all layers.
    Fitted to "either" at three layers and LRU at 2 and 4 slots of 8; judged on LRU at 3 and on "first".
    """
    table = _rows(data / "published" / "mixtral_expert_repetition.csv")
    mean = {c: sum(float(r[c]) for r in table) / len(table) / 100 for c in table[0] if c != "domain"}
    curve = _published_curve(data, "mixtral", {"C=2": 2, "C=3": 3, "C=4": 4})
    goal = np.array([mean["either_L0"], mean["either_L15"], mean["either_L31"], curve[2] / 100, curve[4] / 100])
    rng = np.random.default_rng(8)
    # short share at layers 0, 15, 31; short tokens; long share; long tokens; exponent; ramp
    best = np.array([0.05, 0.3, 0.1, 2.0, 0.1, 60.0, 0.3, 4.0])
    width = np.array([0.05, 0.1, 0.05, 0.7, 0.1, 25.0, 0.2, 3.0])
    low = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 10.0, 0.0, 1.0])
    high = np.array([0.5, 0.6, 0.5, 8.0, 0.4, 200.0, 1.0, 15.0])
    least = np.inf
    for turn in range(120):
        tried = best if turn == 0 else np.clip(best + rng.standard_normal(8) * width * 0.98**turn, low, high)
        popularity, memories = _mixtral_layers(tried)
        seen = _mixtral_seen(popularity, memories)
        loss = float(((np.array([*seen["either"], seen["lru"][1], seen["lru"][3]]) - goal) ** 2).sum())
        if loss < least:
            least, best = loss, tried
    popularity, memories = _mixtral_layers(best)
    seen = _mixtral_seen(popularity, memories, seed=77)
    profile = Profile(
        name="mixtral-8x7b",
        source=f"published figures only: expert repetition of Mixtral (arXiv 2401.04088, table 5); {_CURVES}",
        fitted=(
            "two memories and a Zipf exponent to 'first or second choice repeats' at layers 0, 15, 31 and to LRU hit "
            "rates at 2 and 4 of 8 slots; layers between the three are assumed; which expert is popular is drawn"
        ),
        n_experts=8,
        top_k=2,
        popularity=tuple(tuple(row) for row in popularity.tolist()),
        memories=memories,
    )
    fitted = [100 * float(x) for x in (*seen["either"], seen["lru"][1], seen["lru"][3])]
    first = [100 * mean[f"first_L{layer}"] for layer in (0, 15, 31)]
    return with_error(
        profile,
        fitted_either_L0_L15_L31_lru_2_lru_4=_errors([100 * float(x) for x in goal], fitted),
        judged_lru_3=_errors([curve[3]], [100 * float(seen["lru"][2])]),
        judged_first_L0_L15_L31=_errors(first, [100 * float(x) for x in seen["first"]]),
    )


def _mixtral_layers(numbers: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[Memory, ...]]:
    first, middle, last, short, share, long, exponent, ramp = (Fraction(f"{x:.3f}") for x in numbers.tolist())
    rank = np.argsort(draws(0, stream_id("routing.mixtral"), 0, np.arange(32)[:, None], np.arange(8)), axis=1)
    weights = np.array(zipf_weights(8, exponent), dtype=np.float64)
    popularity = np.rint(weights / weights[0] * 999).astype(np.int64)[rank]
    memories = []
    for layer in range(32):
        up, down = min(Fraction(1), layer / ramp), min(Fraction(1), (31 - layer) / ramp)
        level = first + (middle - first) * up if layer <= 15 else last + (middle - last) * down
        memories.append((round(level, 4), short, share, long))
    return popularity, tuple(memories)


def _mixtral_seen(
    popularity: NDArray[np.int64], memories: tuple[Memory, ...], *, seed: int = 5
) -> dict[str, NDArray[np.float64]]:
    """What the published figures measure, on simulated sequences."""
    sequences, tokens = 16, 512
    lengths = np.full(sequences, tokens, dtype=np.int64)
    stream = stream_id("routing.fit")
    picks = walk(popularity, memories, top_k=2, tokens=lengths.tolist(), seed=seed, stream=stream)
    rows = picks.reshape(sequences, tokens, 32, 2)[:, :, [0, 15, 31]]
    now, before = rows[:, 1:], rows[:, :-1]
    return {
        "first": (now[..., 0] == before[..., 0]).mean(axis=(0, 1)),
        "either": (now[..., :, None] == before[..., None, :]).any(axis=(3, 4)).mean(axis=(0, 1)),
        "lru": hit_rates(*reuse_counts(picks, lengths, 8)),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _published_curve(data: Path, model: str, slots: dict[str, int]) -> dict[int, float]:
    """Published LRU hit rates in % by slots for each layer."""
    rows = _rows(data / "published" / "hit_rate_vs_cache_size.csv")
    return {
        slots[row["cache_fraction_of_E"]]: float(row["hit_pct"])
        for row in rows
        if row["model"] == model and row["policy"] == "lru"
    }


def _compare(published: dict[int, float], rates: NDArray[np.float64]) -> dict[str, list[float]]:
    at = sorted(published)
    measured, simulated = [published[m] for m in at], [100 * float(rates[m - 1]) for m in at]
    return {"capacity": [*at], **_errors(measured, simulated)}


def _errors(measured: Sequence[float], simulated: Sequence[float]) -> dict[str, list[float]]:
    return {
        "measured": [round(m, 2) for m in measured],
        "simulated": [round(s, 2) for s in simulated],
        "error": [round(s - m, 2) for m, s in zip(measured, simulated, strict=True)],
    }
