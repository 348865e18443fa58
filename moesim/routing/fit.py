"""Fit a routing profile to a recording, and judge one against a recording it has not seen.

Per layer five numbers are searched: the four of the memories (`moesim.routing.memory`) and the exponent e in
popularity_i = (-ln(1 - f_i))**e, f_i the recorded inclusion frequency (``laws.md`` X5 inverted; e below 1 undoes what a
short recording exaggerates). They are chosen so that simulated sequences of the recorded lengths give the recorded LRU
hit rates at every capacity from k to N. Picks without replacement have no closed form, so the fit simulates: candidates
are drawn around the best so far, all layers at once, with equal draws for all candidates of a layer. A few minutes; run
by hand, results are committed::

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
_LOW = np.array([0.0, 1.0, 0.0, 8.0, 0.0])  # bounds of (share, tokens) of the short memory, then of the long one, e
_HIGH = np.array([0.9, 12.0, 0.9, 400.0, 2.0])
_START = np.array([0.3, 3.0, 0.3, 60.0, 0.8])
_SPREAD = np.array([0.2, 0.6, 0.2, 0.9, 0.3])
_ENOUGH = 2400  # tokens simulated for each candidate: a short recording is simulated several times over


def fit(
    trace: RoutingTrace, *, name: str, source: str, seed: int = 0, rounds: int = 24, candidates: int = 12
) -> Profile:
    """The profile that reproduces `trace` best, by `rounds` of `candidates`; fixed by the seed and numpy's version."""
    rng = np.random.default_rng([seed, crc32(name.encode())])
    layers, n = trace.n_layers, trace.n_experts
    copies = max(1, _ENOUGH // trace.n_tokens)
    picks = np.asarray(trace.experts, dtype=np.int64)
    counts, lookups = reuse_counts_of(trace)
    target = np.cumsum(counts, axis=1) / lookups[:, None]
    base = -np.log1p(-np.clip(_frequency(picks, n), 1e-4, 1 - 1e-4))
    best = np.tile(_START, (layers, 1))
    loss = np.full(layers, np.inf)
    for turn in range(rounds):
        if turn % 8 == 0:
            loss[:] = np.inf  # new draws every eighth round, so that no candidate wins for good by luck
        tried = _around(rng, best, _SPREAD * 0.88**turn, candidates)
        found = _losses(trace, base, tried, target, seed=seed * 1000 + turn // 8, copies=copies)
        chosen = found.argmin(axis=1)
        better = found[np.arange(layers), chosen] < loss
        best[better] = tried[np.arange(layers), chosen][better]
        loss = np.minimum(loss, found.min(axis=1))
    weights: tuple[float, ...] = ()
    if trace.weights is not None:
        routed = np.asarray(trace.weights)[picks[:, :, 0] >= 0]
        weights = tuple(round(float(w), 4) for w in routed.mean(axis=0, dtype=np.float64))
    return Profile(
        name=name,
        source=source,
        fitted="two memories and the skew of popularity, for each layer, to its LRU hit rates at all capacities",
        n_experts=n,
        top_k=trace.top_k,
        popularity=tuple(tuple(row) for row in _whole(base ** best[:, 4:]).tolist()),
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
    copies: int = 16,
) -> dict[str, Any]:
    """Measured and simulated LRU hit rates in % at `capacities` (slots for each layer), and simulated - measured.

    The simulation makes `copies` of the recording's sequences; `count_from` leaves the first tokens of each out.
    """
    n = trace.n_experts
    lengths = np.diff(trace.sequence_ptr)
    picks = np.asarray(trace.experts, dtype=np.int64)
    measured = hit_rates(*reuse_counts(picks, lengths, n, count_from=count_from))
    made = _simulate(trace, profile.popularity_array(), profile.memories, seed=seed, copies=copies)
    simulated = hit_rates(*reuse_counts(made, np.tile(lengths, copies), n, count_from=count_from))
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
    return np.asarray(np.maximum(1, np.rint(scaled)), dtype=np.int64)


def _around(rng: np.random.Generator, best: Floats, width: Floats, candidates: int) -> Floats:
    """Candidates [L, C, 5]: the best itself, and points around it (time constants by a factor, the rest additive)."""
    noise = rng.standard_normal((len(best), candidates, 5)) * width
    noise[:, 0] = 0
    tried = np.repeat(best[:, None, :], candidates, axis=1)
    tried[:, :, [0, 2, 4]] += noise[:, :, [0, 2, 4]]
    tried[:, :, [1, 3]] *= np.exp(noise[:, :, [1, 3]])
    tried = np.clip(tried, _LOW, _HIGH)
    shares = tried[:, :, 0] + tried[:, :, 2]
    tried[:, :, [0, 2]] *= np.minimum(1, 0.95 / np.maximum(shares, 1e-9))[:, :, None]
    return tried


def _exact(row: Floats) -> Memory:
    """Memory numbers as they will stand in the file: shares to 4 decimals, time constants to 2."""
    a1, t1, a2, t2 = (Fraction(f"{float(x):.{digits}f}") for x, digits in zip(row[:4], (4, 2, 4, 2), strict=True))
    return a1, t1, a2, t2


def _simulate(trace: RoutingTrace, popularity: Ints, memories: Sequence[Memory], *, seed: int, copies: int = 1) -> Ints:
    """Picks [copies * T, V * L, k] of the recording's shape for V variants of its layers; where a token was not routed
    the simulated one is not either."""
    variants = len(memories) // trace.n_layers
    made = walk(
        popularity,
        memories,
        top_k=trace.top_k,
        tokens=np.tile(np.diff(trace.sequence_ptr), copies).tolist(),
        seed=seed,
        stream=stream_id("routing.fit"),
        layer_ids=np.tile(np.arange(trace.n_layers), variants).tolist(),
    )
    return np.asarray(np.where(np.tile(trace.experts[:, :, :1] >= 0, (copies, variants, 1)), made, -1))


def _losses(trace: RoutingTrace, base: Floats, tried: Floats, target: Floats, *, seed: int, copies: int) -> Floats:
    """Mean squared hit-rate error over capacities k to N, [L, C]."""
    layers, candidates = tried.shape[:2]
    rows = tried.transpose(1, 0, 2).reshape(candidates * layers, -1)
    popularity = _whole(np.tile(base, (candidates, 1)) ** rows[:, 4:])
    made = _simulate(trace, popularity, [_exact(row) for row in rows], seed=seed, copies=copies)
    counts, lookups = reuse_counts(made, np.tile(np.diff(trace.sequence_ptr), copies), trace.n_experts)
    rates = (np.cumsum(counts, axis=1) / lookups[:, None]).reshape(candidates, layers, -1)
    off = (rates - target)[:, :, trace.top_k - 1 :]
    return np.asarray((off**2).mean(axis=2).T)
