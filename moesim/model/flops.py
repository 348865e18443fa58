"""Floating-point operations of each part of a layer. One FLOP is one multiply or one add.

A product W[rows, cols] x costs 2 rows cols.

Symbols: T tokens computed, C context after them (T included), d model width, h heads, g key-value heads, dh head
width, N experts, f expert width, m matrices per expert (3 gated, 2 plain), V vocabulary, W window. Left out, because
kernels hide them behind the matrices: norms, activations, softmax, rotary embeddings, biases, residual adds.
"""

from __future__ import annotations

from moesim.model.spec import ModelSpec

__all__ = ["attended", "dense", "expert", "head", "projections", "router", "scores", "shared", "span"]


def attended(tokens: int, context: int, window: int | None = None) -> int:
    """(query, key) pairs: sum over i = 1..T of min(C - T + i, W); token i sees what came before, and itself.

    >>> attended(1, 512), attended(4, 4), attended(4, 4, window=2)
    (512, 10, 7)

    Raises ValueError unless 0 <= T <= C.
    """
    if not 0 <= tokens <= context:
        raise ValueError(f"tokens must be 0 to context ({context}), got {tokens}")
    before = context - tokens
    if window is None or window >= context:
        return tokens * before + tokens * (tokens + 1) // 2
    growing = min(max(window - before, 0), tokens)  # tokens whose view is not yet cut by the window
    return growing * before + growing * (growing + 1) // 2 + (tokens - growing) * window


def span(tokens: int, context: int, window: int | None = None) -> int:
    """Distinct positions whose keys and values T tokens read: min(C, W + T - 1), 0 if T is 0.

    Raises ValueError unless 0 <= T <= C.
    """
    if not 0 <= tokens <= context:
        raise ValueError(f"tokens must be 0 to context ({context}), got {tokens}")
    if tokens == 0:
        return 0
    return context if window is None else min(context, window + tokens - 1)


def projections(spec: ModelSpec, tokens: int) -> int:
    """Query, key, value and output projections: 2 T d dh (2 h + 2 g)."""
    return 2 * tokens * spec.d_model * spec.head_dim * 2 * (spec.n_heads + spec.n_kv_heads)


def scores(spec: ModelSpec, layer: int, tokens: int, context: int) -> int:
    """q K^T and (softmax) V: 4 h dh attended(T, C, W); no triangle is wasted."""
    return 4 * spec.n_heads * spec.head_dim * attended(tokens, context, spec.layers[layer].window)


def router(spec: ModelSpec, layer: int, tokens: int) -> int:
    """2 T d N; 0 in a dense layer."""
    moe = spec.layers[layer].moe
    return 2 * tokens * spec.d_model * moe.n_experts if moe else 0


def expert(spec: ModelSpec, layer: int, pairs: int = 1) -> int:
    """2 m d f for each (token, expert) pair; 0 in a dense layer."""
    moe = spec.layers[layer].moe
    return 2 * pairs * moe.n_matrices * spec.d_model * moe.d_expert if moe else 0


def shared(spec: ModelSpec, layer: int, tokens: int) -> int:
    """2 T m d f n_shared, f the width of one shared expert; 0 where there is none."""
    moe = spec.layers[layer].moe
    return 2 * tokens * moe.n_matrices * spec.d_model * moe.n_shared * moe.d_shared if moe else 0


def dense(spec: ModelSpec, layer: int, tokens: int) -> int:
    """2 T 3 d d_ff; 0 in a layer with experts."""
    return 2 * tokens * 3 * spec.d_model * (spec.layers[layer].d_ff or 0)


def head(spec: ModelSpec, tokens: int) -> int:
    """2 T d V, for the tokens whose logits are wanted."""
    return 2 * tokens * spec.d_model * spec.vocab_size
