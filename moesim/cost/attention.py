"""Attention of one layer for a step: prefill chunks and decode tokens, with causal masks and sliding windows.

A step is a list of chunks (new, context): `new` tokens of one sequence, the last of which sees `context` tokens with
itself; the token at position p sees min(p + 1, window). Decode is new = 1. Two kernels in sequence:

  projections  (norms, QKV, output)  flops = 2 d (2 H h + 2 K h) T       bytes = weights + 2 d T a + embedding rows
                                     transient = 2 H h T a               rows = T = sum of new
  attention    (QK', softmax, PV)    flops = 4 H h sum(attended)         bytes = kv sum(span + new)
                                     rows = (H / K) new of the longest chunk

d model width, H query heads, K key-value heads, h head width, a bytes of an activation element (2), kv bytes of keys
and values of one token, attended = (query, key) pairs, span = distinct tokens whose keys and values a
chunk reads, once each (query tiles re-read them from on-chip memory). Weights are read once a step, whatever the
batch. Rotary embedding, softmax exponentials and attention sinks are left out of the FLOPs (below 1 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moesim.cost.rates import ACTIVATION_BYTES, Rates
from moesim.cost.roofline import Part
from moesim.model.flops import attended, span

__all__ = ["AttentionShape", "attention_parts"]


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """One layer's attention: widths and heads (counts), window (tokens or None), bytes of weights (norms included),
    bytes of keys and values per token, bytes of one embedding row read per token (0 but in the first layer), data
    types of the arithmetic."""

    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    window: int | None
    weight_bytes: int
    kv_bytes_per_token: int
    embedding_row_bytes: int = 0
    dtype: str
    kv_dtype: str


def attention_parts(rates: Rates, shape: AttentionShape, chunks: Sequence[tuple[int, int]]) -> list[Part]:
    """The two kernels of one layer (equations above). Raises ValueError if a chunk has new < 1 or context < new."""
    for new, context in chunks:
        if not 1 <= new <= context:
            raise ValueError(f"a chunk has 1 <= new tokens <= context: got new {new}, context {context}")
    if not chunks:
        return []
    s, tokens = shape, sum(new for new, _ in chunks)
    query, keys = s.n_heads * s.head_dim, 2 * s.n_kv_heads * s.head_dim
    row = ACTIVATION_BYTES * tokens
    return [
        rates.part(
            "projections",
            flops=2 * s.d_model * (2 * query + keys) * tokens,
            rows=tokens,
            dtype=s.dtype,
            streamed=s.weight_bytes + 2 * s.d_model * row + s.embedding_row_bytes * tokens,
            transient=2 * query * row,
        ),
        rates.part(
            "attention",
            flops=4 * query * sum(attended(n, c, s.window) for n, c in chunks),
            rows=max(n for n, _ in chunks) * s.n_heads // s.n_kv_heads,
            dtype=s.kv_dtype,
            streamed=s.kv_bytes_per_token * sum(span(n, c, s.window) + n for n, c in chunks),
        ),
    ]
