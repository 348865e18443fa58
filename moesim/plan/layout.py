"""Lay routing out in steps: which tokens run together, and which experts they pick.

A batch of sequences is prefilled one sequence after another, in chunks, and then decoded in lock step. Tokens are rows
of a `RoutingTrace`; a row marked as not routed at a layer (pruned) drops out of that layer's set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesim.routing.trace import NOT_ROUTED, RoutingTrace

__all__ = ["Chunk", "Layout", "Span", "lay_out", "spans_of", "to_fixed"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Span:
    """The rows of one sequence that are used: its prompt, then its decode steps."""

    prompt: range
    decode: range


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """New tokens of one sequence in a step: how many, and its context with them."""

    tokens: int
    context: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Steps in order; S steps, L routed layers, P picks."""

    batch: Ints
    prefill: NDArray[np.bool_]
    tokens: Ints
    generated: Ints
    first: Ints
    arrival: Ints
    chunks: tuple[tuple[Chunk, ...], ...]
    """[S] what attention sees."""
    logits: Ints
    """[S] tokens whose logits are wanted."""
    rows: tuple[Ints, ...]
    """[S] rows of the trace."""


def spans_of(trace: RoutingTrace, *, sequences: int, prompt_tokens: int, output_tokens: int) -> list[Span]:
    """The rows of the first `sequences` sequences: at most `prompt_tokens` of the prompt (its end), and the decode
    steps of at most `output_tokens` tokens (the prefill makes the first, if there is one)."""
    spans = []
    for sequence in range(sequences):
        begin, end = (int(v) for v in trace.sequence_ptr[sequence : sequence + 2])
        prompt_end = begin + int(trace.prompt_tokens[sequence])
        has_prompt = prompt_end > begin
        steps = min(end - prompt_end, output_tokens - 1 if has_prompt else output_tokens)
        start = max(begin, prompt_end - prompt_tokens)
        spans.append(Span(prompt=range(start, prompt_end), decode=range(prompt_end, prompt_end + steps)))
    return spans


def lay_out(spans: list[Span], *, batch_size: int, prefill_chunk: int) -> Layout:
    """Steps of all batches, one batch after another."""
    batch: list[int] = []
    prefill: list[bool] = []
    generated: list[int] = []
    first: list[int] = []
    arrival: list[int] = []
    chunks: list[tuple[Chunk, ...]] = []
    logits: list[int] = []
    rows: list[Ints] = []
    for number, at in enumerate(range(0, len(spans), batch_size)):
        together = spans[at : at + batch_size]
        start = len(rows)

        def add(made: list[Chunk], at_rows: list[int], *, fill: bool, makes: int, firsts: int) -> None:
            batch.append(number)  # noqa: B023  # called within this turn of the loop only
            prefill.append(fill)
            chunks.append(tuple(made))
            rows.append(np.asarray(at_rows, dtype=np.int64))
            generated.append(makes)
            logits.append(makes)
            first.append(firsts)
            arrival.append(start)  # noqa: B023

        for span in together:
            for begin in range(0, len(span.prompt), prefill_chunk):
                part = span.prompt[begin : begin + prefill_chunk]
                done = begin + len(part) == len(span.prompt)
                chunk = Chunk(tokens=len(part), context=begin + len(part))
                add([chunk], list(part), fill=True, makes=int(done), firsts=int(done))
        for step in range(max((len(span.decode) for span in together), default=0)):
            active = [span for span in together if step < len(span.decode)]
            made = [Chunk(tokens=1, context=len(span.prompt) + step + 1) for span in active]
            # without a prompt the first decode step makes the first token
            firsts = sum(1 for span in active if step == 0 and not span.prompt)
            add(made, [span.decode[step] for span in active], fill=False, makes=len(active), firsts=firsts)
    return Layout(
        batch=np.array(batch, dtype=np.int64),
        prefill=np.array(prefill, dtype=np.bool_),
        tokens=np.array([len(r) for r in rows], dtype=np.int64),
        generated=np.array(generated, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        arrival=np.array(arrival, dtype=np.int64),
        chunks=tuple(chunks),
        logits=np.array(logits, dtype=np.int64),
        rows=tuple(rows),
    )


def to_fixed(weights: NDArray[np.float32]) -> Ints:
    """Router weights to fixed point 2**-32 (exact for float32 between 2**-9 and 2**31)."""
    return np.rint(weights.astype(np.float64) * 2.0**32).astype(np.int64)


def picks_of(
    trace: RoutingTrace, layout: Layout, layers: list[int], n_layers: int
) -> tuple[NDArray[np.int32], Ints, Ints, Ints]:
    """(picks [P], weights [P] or [0], pick_ptr [S * n_layers + 1], routed tokens [S, n_layers]).

    `layers` are the model's layers with routed experts, in the order of the trace's.
    """
    order = np.concatenate(layout.rows) if layout.rows else np.zeros(0, dtype=np.int64)
    experts = np.asarray(trace.experts)[order]  # [T, Lm, k], rows in step order
    step_of = np.repeat(np.arange(len(layout.rows)), layout.tokens)
    routed = experts[:, :, 0] != NOT_ROUTED  # [T, Lm]
    # sort by (step, layer), tokens in order: the layer axis moves in front within each step
    cell = step_of[:, None] * n_layers + np.asarray(layers, dtype=np.int64)[None, :]
    cell = cell[routed]
    by_cell = np.argsort(cell, kind="stable")
    picks = experts[routed][by_cell].astype(np.int32)
    top_k = picks.shape[1] if picks.ndim == 2 else 0
    tokens = np.bincount(cell, minlength=len(layout.rows) * n_layers)
    ptr = np.concatenate([[0], np.cumsum(tokens * top_k)]).astype(np.int64)
    weights = np.zeros(0, dtype=np.int64)
    if trace.weights is not None:
        weights = to_fixed(np.asarray(trace.weights)[order][routed][by_cell]).ravel()
    return picks.ravel(), weights, ptr, tokens.reshape(len(layout.rows), n_layers).astype(np.int64)
