"""Fit a routing profile to a recording, and judge one against a recording it has not seen.

Per layer, four memory numbers (`moesim.routing.memory`) and N popularities are chosen so that simulated sequences of
the recorded lengths give the recorded LRU hit rates at every capacity from k to N, and the recorded inclusion frequencies.
Both have no closed form under picks without replacement, so the fit simulates: candidates of the memory numbers are
drawn around the best so far (all layers at once, equal draws for all candidates of a layer), then popularities are
scaled by (recorded / simulated frequency)**0.8, and again. A few minutes; run by hand, results are committed::

    profile = fit(read("recording.parquet"), name="my-model", source="where it was recorded")
    write_profile(profile, Path("my-model.yaml"))

Hit rates count picks one token at a time, each sequence from a cold cache, one cache for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from moesim.core.atomic import write_text
from moesim.core.streams import stream_id
from moesim.routing.memory import Memory, walk
from moesim.routing.profile import Profile
from moesim.routing.reuse import hit_rates, reuse_counts, reuse_counts_of
from moesim.routing.trace import RoutingTrace

__all__ = ["fit", "hit_error", "write_profile"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_LARGEST = 999  # popularity keeps three digits: a thousandth of the most popular expert is below what a trace shows
_LOW = np.array([0.0, 1.0, 0.0, 8.0])  # bounds of (share, tokens) of the short memory, then of the long one
_HIGH = np.array([0.9, 12.0, 0.9, 400.0])


def fit(
    trace: RoutingTrace,
    *,
    name: str,
    source: str,
    seed: int = 0,
    passes: int = 4,
    rounds: int = 5,
    candidates: int = 12,
) -> Profile:
    """The profile that reproduces `trace` best. `passes` alternations of `rounds` searches over `candidates` and one
    popularity update; deterministic for a given numpy and seed."""
    rng = np.random.default_rng([seed, crc32(name.encode())])
    layers, n = trace.n_layers, trace.n_experts
    picks = np.asarray(trace.experts, dtype=np.int64)
    counts, lookups = reuse_counts_of(trace)
    target = np.cumsum(counts, axis=1) / lookups[:, None]
    frequency = _frequency(picks, n)
    popularity = _whole(frequency)
    best = np.tile([0.3, 3.0, 0.3, 60.0], (layers, 1))
    loss = np.full(layers, np.inf)
    spread = np.array([0.2, 0.6, 0.2, 0.9])
    for step in range(passes):
        loss[:] = np.inf  # the popularity has changed, so old losses do not compare
        for turn in range(rounds):
            width = spread * 0.7 ** (step * rounds / 2 + turn)
            tried = _around(rng, best, width, candidates)
            found = _losses(trace, popularity, tried, target, seed=seed * 1000 + step)
            chosen = found.argmin(axis=1)
            better = found[np.arange(layers), chosen] < loss
            best[better] = tried[np.arange(layers), chosen][better]
            loss = np.minimum(loss, found.min(axis=1))
        simulated = _simulate(trace, popularity, [_exact(row) for row in best], seed=seed * 1000 + 500 + step)
        ratio = (frequency + 1e-4) / (_frequency(simulated, n) + 1e-4)
        popularity = _whole(popularity * ratio**0.8)
    weights: tuple[float, ...] = ()
    if trace.weights is not None:
        routed = np.asarray(trace.weights)[picks[:, :, 0] >= 0]
        weights = tuple(round(float(w), 4) for w in routed.mean(axis=0, dtype=np.float64))
    return Profile(
        name=name,
        source=source,
        fitted="popularity to inclusion frequencies, two memories to LRU hit rates at all capacities, for each layer",
        n_experts=n,
        top_k=trace.top_k,
        popularity=tuple(tuple(row) for row in popularity.tolist()),
        memories=tuple(_exact(row) for row in best),
        weights=weights,
    )


def hit_error(
    profile: Profile,
    trace: RoutingTrace,
    capacities: Sequence[int],
    *,
    seed: int = 1,
    count_from: int = 0,
    runs: int = 4,
) -> dict[str, Any]:
    """Measured and simulated LRU hit rates in % at `capacities` (slots for each layer), and simulated - measured.

    The simulation makes `runs` copies of the recording's sequences; `count_from` leaves the first tokens of each out.
    """
    n = trace.n_experts
    lengths = np.diff(trace.sequence_ptr)
    picks = np.asarray(trace.experts, dtype=np.int64)
    measured = hit_rates(*reuse_counts(picks, lengths, n, count_from=count_from))
    counts, lookups = np.zeros((trace.n_layers, n), dtype=np.int64), np.zeros(trace.n_layers, dtype=np.int64)
    for run in range(runs):
        made = _simulate(trace, profile.popularity_array(), profile.memories, seed=seed + run)
        more, looked = reuse_counts(made, lengths, n, count_from=count_from)
        counts, lookups = counts + more, lookups + looked
    simulated = hit_rates(counts, lookups)
    at = np.asarray(capacities) - 1
    return {
        "capacity": list(capacities),
        "measured": [round(100 * float(x), 2) for x in measured[at]],
        "simulated": [round(100 * float(x), 2) for x in simulated[at]],
        "error": [round(100 * float(x), 2) for x in (simulated - measured)[at]],
    }


def write_profile(profile: Profile, path: Path) -> None:
    """Write the YAML file that `load_profile` reads."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 1 << 16
    yaml.default_flow_style = None
    text = StringIO()
    yaml.dump(profile.to_dict(), text)
    write_text(path, text.getvalue())


def with_error(profile: Profile, **tables: object) -> Profile:
    """The same profile with tables of its error added."""
    return replace(profile, fit_error={**profile.fit_error, **tables})


def _frequency(picks: Ints, n: int) -> Floats:
    """How often each expert is among a token's picks, [L, N]."""
    layers = picks.shape[1]
    out = np.zeros((layers, n))
    for layer in range(layers):
        routed = picks[:, layer][picks[:, layer, 0] >= 0]
        out[layer] = np.bincount(routed.reshape(-1), minlength=n) / len(routed)
    return out


def _whole(mass: Floats | Ints) -> Ints:
    """Positive mass [L, N] as whole numbers from 1 to 999."""
    scaled = np.asarray(mass, dtype=np.float64) / np.max(mass, axis=1, keepdims=True) * _LARGEST
    return np.maximum(1, np.rint(scaled)).astype(np.int64)


def _around(rng: np.random.Generator, best: Floats, width: Floats, candidates: int) -> Floats:
    """Candidates [L, C, 4]: the best itself, and points around it (shares additive, time constants by a factor)."""
    noise = rng.standard_normal((len(best), candidates, 4)) * width
    noise[:, 0] = 0
    tried = np.repeat(best[:, None, :], candidates, axis=1)
    tried[:, :, [0, 2]] += noise[:, :, [0, 2]]
    tried[:, :, [1, 3]] *= np.exp(noise[:, :, [1, 3]])
    tried = np.clip(tried, _LOW, _HIGH)
    shares = tried[:, :, 0] + tried[:, :, 2]
    tried[:, :, [0, 2]] *= np.minimum(1, 0.95 / np.maximum(shares, 1e-9))[:, :, None]
    return tried


def _exact(row: Floats) -> Memory:
    """Memory numbers as they will stand in the file: shares to 4 decimals, time constants to 2."""
    a1, t1, a2, t2 = (Fraction(f"{float(x):.{digits}f}") for x, digits in zip(row, (4, 2, 4, 2), strict=True))
    return a1, t1, a2, t2


def _simulate(trace: RoutingTrace, popularity: Ints, memories: Sequence[Memory], *, seed: int) -> Ints:
    """Picks of the recording's shape; where a token was not routed the simulated one is not either."""
    lengths = np.diff(trace.sequence_ptr)
    variants = len(memories) // trace.n_layers
    made = walk(
        np.tile(popularity, (variants, 1)),
        memories,
        top_k=trace.top_k,
        tokens=lengths.tolist(),
        seed=seed,
        stream=stream_id("routing.fit"),
        layer_ids=np.tile(np.arange(trace.n_layers), variants).tolist(),
    )
    return np.asarray(np.where(np.tile(trace.experts[:, :, :1] >= 0, (1, variants, 1)), made, -1))


def _losses(trace: RoutingTrace, popularity: Ints, tried: Floats, target: Floats, *, seed: int) -> Floats:
    """Mean squared hit-rate error over capacities k to N, [L, C]."""
    layers, candidates = tried.shape[:2]
    memories = [_exact(tried[layer, c]) for c in range(candidates) for layer in range(layers)]
    made = _simulate(trace, popularity, memories, seed=seed)
    counts, lookups = reuse_counts(made, np.diff(trace.sequence_ptr), trace.n_experts)
    rates = (np.cumsum(counts, axis=1) / lookups[:, None]).reshape(candidates, layers, -1)
    off = (rates - target)[:, :, trace.top_k - 1 :]
    return np.asarray((off**2).mean(axis=2).T)
