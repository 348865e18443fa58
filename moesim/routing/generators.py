"""Routing made from a law or from a fitted profile instead of a recording.

==============  ======================  ===========================================================================
kind            params                  candidate of a slot
==============  ======================  ===========================================================================
``uniform``     none                    every expert alike
``zipf``        exponent                expert of rank i with probability proportional to i**-exponent
``sticky_zipf`` exponent, repeat        with probability `repeat` the slot keeps its expert of the token before, else
                                        as ``zipf`` (``laws.md`` X7)
``profile``     profile                 popularity and two memories of a `Profile` (`moesim.routing.memory`)
==============  ======================  ===========================================================================

Candidates come from integer alias tables; a candidate that the token has already is drawn again (next attempt), so that
each token picks k distinct experts. Which id has which rank differs from layer to layer, by a seeded permutation.
All draws are `moesim.core.streams.draws` of (seed, "routing.<kind>", sequence * 2**32 + token, layer, slot, attempt):
seed and kind fix every byte, and another length of one sequence changes no other sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moesim.core.streams import draws, stream_id, threshold
from moesim.errors import Fault, InputError, nearest
from moesim.routing.alias import AliasTables
from moesim.routing.memory import walk
from moesim.routing.pick import first_distinct, pick_from_rest
from moesim.routing.profile import Profile, load_profile
from moesim.routing.trace import RoutingTrace, as_ids

__all__ = ["KINDS", "generate", "zipf_weights"]

Ints = NDArray[np.int64]
_Built = tuple[Ints, NDArray[np.float32] | None, str]  # picks [T, L, k], mean weights [k], where they come from
_STATES = 1 << 14  # (token, layer) rows drawn at once where tokens do not depend on each other


class _Shape(NamedTuple):
    """What is to be made: MoE layers, experts, picks, tokens of each sequence, seed."""

    layers: int
    experts: int
    top_k: int
    tokens: tuple[int, ...]
    seed: int


def generate(
    kind: str,
    *,
    n_layers: int,
    n_experts: int,
    top_k: int,
    tokens: Sequence[int],
    seed: int,
    params: Mapping[str, Any] | None = None,
    prompt_tokens: Sequence[int] | None = None,
) -> RoutingTrace:
    """Routing of len(tokens) sequences of tokens[s] tokens (prompt included), each starting without a past.

    `prompt_tokens` says how many of each sequence's tokens are prompt (default 0). A profile with router weights by
    rank gives every token those means, scaled to their sum when `top_k` is smaller; the laws give no weights.
    Raises InputError for an unknown kind or parameter, top_k > n_experts, or a profile of another shape.
    """
    made = KINDS.get(kind)
    if made is None:
        fault = Fault(field="routing.kind", got=kind, allowed=" | ".join(KINDS), nearest=nearest(kind, KINDS))
        raise InputError(fault)
    build, names = made
    given = dict(params or {})
    faults = [
        Fault(field=f"routing.{name}", message=f"kind {kind} has no such parameter", nearest=nearest(name, names))
        for name in given
        if name not in names
    ]
    faults += [Fault(field=f"routing.{name}", message=f"routing.kind {kind} needs it") for name in names - given.keys()]
    if not 1 <= top_k <= n_experts:
        faults.append(Fault(field="model.top_k", got=top_k, allowed=f"1 to {n_experts}"))
    if n_layers < 1 or not tokens or min(tokens) < 1:
        faults.append(Fault(field="routing", message=f"needs layers and tokens: {n_layers} layers, tokens {tokens}"))
    if faults:
        raise InputError(*faults)
    picks, weights, source = build(_Shape(n_layers, n_experts, top_k, tuple(tokens), seed), given)
    ptr = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int64)
    return RoutingTrace(
        experts=as_ids(picks, n_experts),
        weights=None if weights is None else np.broadcast_to(weights, picks.shape),
        sequence_ptr=ptr,
        prompt_tokens=np.asarray([0] * len(tokens) if prompt_tokens is None else prompt_tokens, dtype=np.int32),
        n_experts=n_experts,
        source=source,
    )


@lru_cache(maxsize=64)
def zipf_weights(n: int, exponent: Fraction) -> tuple[int, ...]:
    """``round(2**24 * i**-exponent)`` for i = 1 to n, at least 1; decimal arithmetic, so equal on every machine."""
    context = Context(prec=28)
    power = -context.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))
    top = Decimal(1 << 24)
    return tuple(max(1, round(context.multiply(top, context.power(Decimal(i), power)))) for i in range(1, n + 1))


def _ratio(params: Mapping[str, Any], name: str, high: int) -> Fraction:
    """A number in [0, high], exactly as written in decimals."""
    got = params[name]
    try:
        value = Fraction(got) if isinstance(got, Fraction) else Fraction(Decimal(str(got)))
    except (InvalidOperation, ValueError, OverflowError):
        value = Fraction(-1)
    if isinstance(got, bool) or not 0 <= value <= high:
        raise InputError(Fault(field=f"routing.{name}", got=got, allowed=f"a number from 0 to {high}"))
    return value


def _ranked(shape: _Shape, exponent: Fraction) -> Ints:
    """Zipf weights [L, N] with the ranks dealt to ids by a seeded permutation of each layer."""
    key = draws(shape.seed, stream_id("routing.rank"), 0, np.arange(shape.layers)[:, None], np.arange(shape.experts))
    rank = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(zipf_weights(shape.experts, exponent), dtype=np.int64)[rank]


def _steps(tokens: Sequence[int]) -> Ints:
    """The step coordinate of every token: sequence * 2**32 + index within it."""
    return np.concatenate([(s << 32) + np.arange(n, dtype=np.int64) for s, n in enumerate(tokens)])


def _independent(shape: _Shape, popularity: Ints, stream: int) -> Ints:
    """Picks [T, L, k] where no token depends on another: all rows at once, in portions."""
    layers, top_k, seed = shape.layers, shape.top_k, shape.seed
    table = AliasTables(popularity)
    layer = np.arange(layers)[:, None]
    n = 2 * top_k
    steps = _steps(shape.tokens)
    picks = np.empty((len(steps), layers, top_k), dtype=np.int64)
    portion = max(1, _STATES // layers)
    for start in range(0, len(steps), portion):
        step = steps[start : start + portion]
        found = table.pick(draws(seed, stream, step[:, None, None], layer, np.arange(n)), layer).reshape(-1, n)
        taken, lacking = first_distinct(found, top_k)
        chosen = np.full((len(found), top_k), -1, dtype=np.int64)
        chosen[np.arange(top_k) < (top_k - lacking)[:, None]] = found[taken]
        short = np.flatnonzero(lacking)
        if len(short):
            at, row = np.divmod(short, layers)
            more = draws(seed, stream, step[at][:, None], row[:, None], n + np.arange(top_k))
            chosen[short] = pick_from_rest(popularity[row], chosen[short], more)
        picks[start : start + portion] = chosen.reshape(-1, layers, top_k)
    return picks


def _sticky(shape: _Shape, popularity: Ints, repeat: Fraction, stream: int) -> Ints:
    """Picks [T, L, k] where each slot keeps its expert with probability `repeat`; the first token draws all of them."""
    layers, top_k, seed = shape.layers, shape.top_k, shape.seed
    table = AliasTables(popularity)
    layer = np.arange(layers)[:, None]
    slot = np.arange(top_k)
    n = 2 * top_k
    keep_below = threshold(repeat)
    lengths = np.asarray(shape.tokens, dtype=np.int64)
    begin = np.concatenate([[0], np.cumsum(lengths)])
    picks = np.empty((int(begin[-1]), layers, top_k), dtype=np.int64)
    for t in range(int(lengths.max())):
        now = np.flatnonzero(lengths > t)
        step = ((now << 32) + t)[:, None, None]
        found = table.pick(draws(seed, stream, step, layer, np.arange(n)), layer).reshape(-1, n)
        chosen = np.full((len(found), top_k), -1, dtype=np.int64)
        if t and keep_below:
            # compared with threshold - 1, because the threshold of certainty, 2**64, is no 64-bit number
            kept = draws(seed, stream, step, layer, slot, 1) <= np.uint64(keep_below - 1)
            chosen = np.where(kept, picks[begin[now] + t - 1], -1).reshape(-1, top_k)
        free = (chosen < 0).sum(axis=1)
        # kept experts go in front, so that a candidate equal to one of them counts as a repeat
        taken, lacking = first_distinct(np.concatenate([chosen, found], axis=1), top_k)
        taken = taken[:, top_k:]
        place = chosen < 0
        chosen[place & (np.cumsum(place, axis=1) <= (free - lacking)[:, None])] = found[taken]
        short = np.flatnonzero(lacking)
        if len(short):
            at, row = np.divmod(short, layers)
            more = draws(seed, stream, step[at, 0], row[:, None], n + slot)
            chosen[short] = pick_from_rest(popularity[row], chosen[short], more)
        picks[begin[now] + t] = chosen.reshape(len(now), layers, top_k)
    return picks


def _uniform(shape: _Shape, params: Mapping[str, Any]) -> _Built:
    popularity = np.ones((shape.layers, shape.experts), dtype=np.int64)
    return _independent(shape, popularity, stream_id("routing.uniform")), None, "uniform"


def _zipf(shape: _Shape, params: Mapping[str, Any]) -> _Built:
    exponent = _ratio(params, "exponent", 10)
    popularity = _ranked(shape, exponent)
    return _independent(shape, popularity, stream_id("routing.zipf")), None, f"zipf, exponent {float(exponent):g}"


def _sticky_zipf(shape: _Shape, params: Mapping[str, Any]) -> _Built:
    exponent, repeat = _ratio(params, "exponent", 10), _ratio(params, "repeat", 1)
    popularity = _ranked(shape, exponent)
    source = f"sticky_zipf, exponent {float(exponent):g}, repeat {float(repeat):g}"
    return _sticky(shape, popularity, repeat, stream_id("routing.sticky_zipf")), None, source


def _profile(shape: _Shape, params: Mapping[str, Any]) -> _Built:
    given = params["profile"]
    profile = given if isinstance(given, Profile) else load_profile(given)
    if (profile.n_layers, profile.n_experts) != (shape.layers, shape.experts):
        fitted = f"profile {profile.name} was fitted on {profile.n_layers} MoE layers of {profile.n_experts} experts"
        text = f"{fitted}, the model has {shape.layers} of {shape.experts}"
        raise InputError(Fault(field="routing.profile", message=text))
    picks = walk(
        profile.popularity_array(),
        profile.memories,
        top_k=shape.top_k,
        tokens=shape.tokens,
        seed=shape.seed,
        stream=stream_id("routing.profile"),
    )
    return picks, profile.rank_weights(shape.top_k), f"profile {profile.name}: {profile.source}"


KINDS: Mapping[str, tuple[Callable[[_Shape, Mapping[str, Any]], _Built], frozenset[str]]] = {
    "profile": (_profile, frozenset({"profile"})),
    "sticky_zipf": (_sticky_zipf, frozenset({"exponent", "repeat"})),
    "zipf": (_zipf, frozenset({"exponent"})),
    "uniform": (_uniform, frozenset()),
}
