"""Routing of a model whose experts were cut finer, or merged, made from routing of the model as it is.

Nobody has recorded the finer model, so two extremes bracket it, and a number between them:

``siblings``       expert e becomes ids eG to eG+G-1, always picked together: k*G picks, as local as the recording.
``independent``    the G children of an expert know nothing of each other: child g of all experts follows the
                   recording at its own rotation in time (each sequence and layer by itself). Each fine expert keeps
                   its parent's frequency exactly and its repetition from token to token (but for one seam), and two
                   siblings meet no more often than two strangers of that popularity.
``correlation c``  children follow the true time with probability sqrt(c), drawn for each child, layer and block of
                   32 tokens (so that repetition survives), else their rotation: siblings then correlate by c.

Merging (G = 1/m): ``siblings`` merges ids mi to mi+m-1; ``independent`` merges m ids at random (a seeded permutation of
each layer); between, a pair of neighbours stays together with probability c. A token then has between k/m and k merged
experts; it keeps the k/m with the largest summed router weight (without weights: those picked first). So the picks are
k/m distinct, and a merged expert's frequency is at most the sum of its parts'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesim.core.streams import draws, stream_id, threshold
from moesim.core.ticks import ceil_div
from moesim.errors import Fault, InputError
from moesim.routing.alias import scale
from moesim.routing.trace import NOT_ROUTED, RoutingTrace, as_ids

__all__ = ["regranulate"]

Ints = NDArray[np.int64]
_BLOCK = 32  # tokens that a child stays with one clock under a correlation between 0 and 1


def regranulate(
    trace: RoutingTrace, granularity: Fraction | int | float, split: str | Mapping[str, Any], *, seed: int = 0
) -> RoutingTrace:
    """The trace of a model with N*G experts and k*G picks; `split` as above, correlation as {"correlation": c}.

    Weights of a pick are shared equally among its children, and added when experts merge; `expert_bytes` in the header
    are divided (rounded up) or multiplied. Raises InputError unless G or 1/G, k*G and N*G are whole, and 0 <= c <= 1.
    """
    g = Fraction(granularity)
    correlation = _correlation(split)
    faults = []
    if g <= 0 or 1 not in (g.numerator, g.denominator):
        faults.append(Fault(field="model.granularity", got=str(g), allowed="a whole number, or one over one"))
    for what, count in (("experts", trace.n_experts), ("picks for each token", trace.top_k)):
        if not faults and (count * g).denominator != 1:
            faults.append(Fault(field="model.granularity", got=str(g), message=f"{count} {what} do not divide by it"))
    if faults:
        raise InputError(*faults)
    if g == 1:
        return trace
    fine = _split(trace, int(g), correlation, seed) if g > 1 else _merge(trace, int(1 / g), correlation, seed)
    header = dict(trace.header)
    if "expert_bytes" in header:
        header["expert_bytes"] = [ceil_div(b * g.denominator, g.numerator) for b in header["expert_bytes"]]
    how = split if isinstance(split, str) else f"correlation {split['correlation']}"
    return replace(fine, header=header, source=f"{trace.source}; granularity {g} ({how})")


def _correlation(split: str | Mapping[str, Any]) -> Fraction:
    """Siblings are perfectly correlated, independent ones not at all."""
    if isinstance(split, str):
        if split in ("siblings", "independent"):
            return Fraction(1 if split == "siblings" else 0)
    elif set(split) == {"correlation"} and not isinstance(split["correlation"], bool):
        try:
            given = split["correlation"]
            value = given if isinstance(given, Fraction) else Fraction(Decimal(str(given)))
        except (InvalidOperation, ValueError, OverflowError):
            value = Fraction(-1)
        if 0 <= value <= 1:
            return value
    allowed = "siblings | independent | {correlation: 0 to 1}"
    raise InputError(
        Fault(field="routing.split", got=split if isinstance(split, str) else dict(split), allowed=allowed)
    )


def _split(trace: RoutingTrace, g: int, correlation: Fraction, seed: int) -> RoutingTrace:
    picks = np.asarray(trace.experts, dtype=np.int64)
    tokens, layers = picks.shape[:2]
    clock = np.broadcast_to(np.arange(tokens)[:, None, None], (tokens, layers, g)).copy()
    if correlation < 1:
        for s in range(trace.n_sequences):
            _rotate(clock, picks[:, :, 0] != NOT_ROUTED, trace, s, correlation, seed)
    layer = np.arange(layers)[:, None]
    source = picks[clock, layer]  # [T, L, G, k]
    child = np.where(source == NOT_ROUTED, NOT_ROUTED, source * g + np.arange(g)[:, None])
    weights = None
    if trace.weights is not None:
        weights = _best_first(np.asarray(trace.weights)[clock, layer] / np.float32(g))
    # order: the best pick of every child first, so that the router's order survives as far as it has a meaning
    return replace(
        trace,
        experts=as_ids(_best_first(child), trace.n_experts * g),
        weights=weights,
        n_experts=trace.n_experts * g,
    )


def _best_first(by_child: NDArray[Any]) -> NDArray[Any]:
    """[T, L, G, k] to [T, L, k*G], slot-major."""
    tokens, layers, g, k = by_child.shape
    return np.ascontiguousarray(by_child.transpose(0, 1, 3, 2).reshape(tokens, layers, k * g))


def _rotate(
    clock: Ints, routed: NDArray[np.bool_], trace: RoutingTrace, sequence: int, correlation: Fraction, seed: int
) -> None:
    """Set the clocks [T, L, G] of one sequence: the true token, or the token a rotation away, among routed ones."""
    stream = stream_id("routing.split")
    low, high = (int(x) for x in trace.sequence_ptr[sequence : sequence + 2])
    layers, g = clock.shape[1:]
    child = np.arange(g)
    keep = _root(correlation)
    for layer in range(layers):
        here = low + np.flatnonzero(routed[low:high, layer])
        if len(here) < 2:
            continue
        shift = scale(draws(seed, stream, sequence, layer, child, 0), len(here)).astype(np.int64)
        order = np.arange(len(here))[:, None]
        moved = here[(order + shift) % len(here)]
        if keep:
            block = (sequence << 32) + order // _BLOCK
            stay = draws(seed, stream, block, layer, child, 1) <= np.uint64(keep - 1)
            moved = np.where(stay, here[:, None], moved)
        clock[here, layer] = moved


def _root(correlation: Fraction) -> int:
    """The threshold of probability sqrt(correlation), in [0, 2**64), without floats."""
    return isqrt(threshold(correlation) << 64)


def _merge(trace: RoutingTrace, m: int, correlation: Fraction, seed: int) -> RoutingTrace:
    tokens, layers, k = trace.experts.shape
    want = k // m
    merged = np.stack([_groups(trace.n_experts, m, correlation, seed, layer) for layer in range(layers)])
    picks = np.asarray(trace.experts, dtype=np.int64)
    routed = picks != NOT_ROUTED
    groups = np.where(routed, merged[np.arange(layers)[:, None], np.maximum(picks, 0)], NOT_ROUTED).reshape(-1, k)
    same = groups[:, :, None] == groups[:, None, :]
    first = ~(same & np.tri(k, k=-1, dtype=bool)).any(axis=2)
    if trace.weights is None:
        score = np.broadcast_to(np.arange(k, 0, -1, dtype=np.float64), groups.shape)
    else:
        given = np.nan_to_num(np.asarray(trace.weights, dtype=np.float64).reshape(-1, k))
        score = (same * given[:, None, :]).sum(axis=2)
    # later members of a group go last; a stable sort leaves ties in the router's order
    order = np.argsort(np.where(first, -score, np.inf), axis=1, kind="stable")[:, :want]
    experts = np.take_along_axis(groups, order, axis=1).reshape(tokens, layers, want)
    weights = None
    if trace.weights is not None:
        weights = np.take_along_axis(score, order, axis=1).reshape(tokens, layers, want).astype(np.float32)
    return replace(
        trace, experts=as_ids(experts, trace.n_experts // m), weights=weights, n_experts=trace.n_experts // m
    )


def _groups(n: int, m: int, correlation: Fraction, seed: int, layer: int) -> Ints:
    """The merged id [N] of every expert of a layer: m ids share one."""
    stream = stream_id("routing.merge")
    neighbours = np.arange(n) // m
    if correlation == 1:
        return neighbours
    keep = threshold(correlation)
    stays = np.zeros(n // m, dtype=bool)
    if keep:
        stays = draws(seed, stream, 0, layer, np.arange(n // m), 1) <= np.uint64(keep - 1)
    loose = np.flatnonzero(~stays[neighbours])
    order = np.argsort(draws(seed, stream, 0, layer, loose, 0), kind="stable")
    merged = neighbours.copy()
    merged[loose[order]] = neighbours[loose]
    return merged
