"""Routing with two memories: popular experts, experts of the last few tokens, experts of this conversation.

A candidate of token t at one layer is expert i with probability

    p_i(t) = (1 - a1 - a2) popularity_i + a1 m1_i(t) + a2 m2_i(t),
    m_i(t) = sum over g = 1 .. t of  (1/tau) (1 - 1/tau)^(g-1)  [expert i is among the k picks of token t-g] / k,

a1, tau1 the share and the time constant (tokens) of the short memory, a2, tau2 of the long one. What a memory would
give to tokens before the sequence began goes to the popularity. k distinct experts are taken without replacement.

An exponential memory need not be stored: drawing a lag g from the geometric law and then one of that token's k picks
is the same distribution. So both memories of a layer are one integer table of lags (lag 0 = popularity), and a draw is
two look-ups. Lags end at `MAX_LAG`; the mass beyond goes to the popularity too.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from moesim.core.streams import draws
from moesim.routing.alias import AliasTables, scale
from moesim.routing.pick import first_distinct, pick_from_rest

__all__ = ["MAX_LAG", "Memory", "lag_weights", "walk"]

Ints = NDArray[np.int64]
Memory = tuple[Fraction, Fraction, Fraction, Fraction]  # share and time constant, short; share and time constant, long

MAX_LAG = 1024
_GRAIN = 24  # the lag table has 2**24 units of mass
_FINE = 48  # fixed point of the geometric series
_CELLS = 1 << 19  # candidates drawn at once: bounds the working memory to some tens of megabytes


@lru_cache(maxsize=4096)
def lag_weights(memory: Memory) -> tuple[int, ...]:
    """Whole-number weights of the lags 0 (popularity) to MAX_LAG, summing to 2**24; computed without floats."""
    unit = 1 << _FINE
    total = [0] * (MAX_LAG + 1)
    for share, tokens in (memory[:2], memory[2:]):
        if not 0 <= share <= 1 or tokens < 1:
            raise ValueError(f"a memory has a share in [0, 1] and a time constant >= 1 token: got {share}, {tokens}")
        weight = int(unit * share / tokens)
        keep = int(unit * (1 - 1 / tokens))
        for lag in range(1, MAX_LAG + 1):
            total[lag] += weight
            weight = weight * keep >> _FINE
    lags = [w >> (_FINE - _GRAIN) for w in total]
    lags[0] = (1 << _GRAIN) - sum(lags)
    if lags[0] < 0:
        raise ValueError(f"the shares of both memories add up to more than 1: {memory[0]} + {memory[2]}")
    # the tail of long lags is flat zeros for a short memory: a shorter table is built and drawn from faster
    while len(lags) > 1 and lags[-1] == 0:
        lags.pop()
    return tuple(lags)


def walk(
    popularity: Ints,
    memories: Sequence[Memory],
    *,
    top_k: int,
    tokens: Sequence[int],
    seed: int,
    stream: int,
    layer_ids: Sequence[int] | None = None,
) -> Ints:
    """Picks [sum(tokens), L, k] of sequences that each begin with empty memories.

    `popularity` [L, N] whole numbers; `memories` one for each layer. The draws of candidate n of token t of sequence s
    at layer l are ``draws(seed, stream, s * 2**32 + t, layer_ids[l], n, 0)`` for the lag and attempt 1 for the
    rest; `layer_ids` (default 0, 1, ...) lets a fit give equal draws to several variants of one layer.
    """
    layers = len(popularity)
    lags = [lag_weights(memory) for memory in memories]
    width = max(len(row) for row in lags)
    kernel = np.array([row + (0,) * (width - len(row)) for row in lags], dtype=np.int64)
    lag_table, popular = AliasTables(kernel), AliasTables(popularity)
    ids = np.arange(layers) if layer_ids is None else np.asarray(layer_ids)
    n = 3 * top_k if width > 1 else 2 * top_k  # memories repeat themselves: more attempts before the exact completion
    lengths = np.asarray(tokens, dtype=np.int64)
    begin = np.concatenate([[0], np.cumsum(lengths)])
    picks = np.zeros((int(begin[-1]), layers, top_k), dtype=np.int64)
    layer_row = np.arange(layers)[:, None]
    candidate = np.arange(n)
    start, longest = 0, int(lengths.max(initial=0))
    while start < longest:
        alive = np.flatnonzero(lengths > start)
        stop = min(longest, start + max(1, _CELLS // (len(alive) * layers * n)))
        step = (alive[:, None] << 32) + np.arange(start, stop)
        where = (step[:, :, None, None], ids[:, None], candidate)
        lag = lag_table.pick(draws(seed, stream, *where, 0), layer_row)
        value = draws(seed, stream, *where, 1)
        fresh = popular.pick(value, layer_row)
        place = scale(value, top_k).astype(np.int64)
        for t in range(start, stop):
            now = np.flatnonzero(lengths[alive] > t)
            back = lag[now, t - start]
            remembered = (back > 0) & (back <= t)
            row = (begin[alive[now]] + t)[:, None, None] - np.where(remembered, back, 0)
            old = picks[row, layer_row, place[now, t - start]]
            found = np.where(remembered, old, fresh[now, t - start]).reshape(-1, n)
            taken, lacking = first_distinct(found, top_k)
            if not lacking.any():
                chosen = found[taken].reshape(len(now), layers, top_k)
            else:
                chosen = np.full((len(found), top_k), -1, dtype=np.int64)
                chosen[np.arange(top_k) < (top_k - lacking)[:, None]] = found[taken]
                short = np.flatnonzero(lacking)
                which, layer = np.divmod(short, layers)
                which = now[which]
                more = draws(seed, stream, step[which, t - start][:, None], ids[layer][:, None], n + np.arange(top_k))
                history = [picks[begin[s] : begin[s] + t, la] for s, la in zip(alive[which], layer, strict=True)]
                mass = _mass(popularity[layer], kernel[layer], history, top_k)
                chosen[short] = pick_from_rest(mass, chosen[short], more)
                chosen = chosen.reshape(len(now), layers, top_k)
            picks[begin[alive[now]] + t] = chosen
        start = stop
    return picks


def _mass(popularity: Ints, kernel: Ints, history: list[Ints], top_k: int) -> Ints:
    """The mixture p_i(t) in whole numbers, [R, N]: exact, for the rows that redraws did not complete."""
    mass = np.empty_like(popularity)
    for r, past in enumerate(history):
        depth = min(len(past), kernel.shape[1] - 1)
        recent = past[::-1][:depth]
        by_lag = np.repeat(kernel[r, 1 : depth + 1], recent.shape[1])
        # float64 counts are exact here: sums of at most 2**24 * k
        memory = np.bincount(recent.reshape(-1), weights=by_lag, minlength=popularity.shape[1]).astype(np.int64)
        free = (1 << _GRAIN) - int(kernel[r, 1 : depth + 1].sum())
        mass[r] = popularity[r] * (free * top_k) + memory * int(popularity[r].sum())
    return mass
