"""Attention: masks by brute force, bytes and FLOPs by hand, batches as lists of chunks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.cost.attention import AttentionShape, attention_parts
from moesim.cost.rates import Rates
from moesim.cost.service import Service

windows = st.none() | st.integers(1, 40)


def rates(peak: int = 10**12, bandwidth: int = 10**12) -> Rates:
    return Rates(memory=Service(Fraction(bandwidth)), efficiency=Service(Fraction(1)), peaks={"bf16": Fraction(peak)})


def shape(**changes: Any) -> AttentionShape:
    fields: dict[str, Any] = {
        "d_model": 16, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "window": None, "weight_bytes": 3072,
        "kv_bytes_per_token": 64, "dtype": "bf16", "kv_dtype": "bf16",
    }  # fmt: skip
    return AttentionShape(**(fields | changes))


@given(st.integers(1, 60), st.integers(0, 60), windows)
def test_masks_equal_a_count_token_by_token(new: int, old: int, window: int | None) -> None:
    seen = [set(range(max(0, p + 1 - window) if window else 0, p + 1)) for p in range(old, old + new)]
    _, core = attention_parts(rates(), shape(window=window), [(new, old + new)])
    assert core.flops == 4 * 32 * sum(len(s) for s in seen)
    assert core.bytes == 64 * (len(set().union(*seen)) + new)


def test_one_chunk_by_hand() -> None:
    projections, core = attention_parts(rates(), shape(), [(3, 10)])
    # H h = 32, 2 K h = 32: (2 * 32 + 32) * 16 weights; in and out 16 each; q and output 32 each, written and read
    assert projections.flops == 2 * 96 * 16 * 3
    assert projections.bytes == 3072 + 3 * 2 * (2 * 16 + 2 * 2 * 32)
    assert core.flops == 4 * 32 * (8 + 9 + 10)
    assert core.bytes == 64 * (10 + 3)


def test_a_batch_reads_weights_once_and_keys_for_each_sequence() -> None:
    one, _ = attention_parts(rates(), shape(weight_bytes=3072), [(1, 5)])
    both, core = attention_parts(rates(), shape(weight_bytes=3072), [(1, 5), (1, 9)])
    assert both.bytes - 3072 == 2 * (one.bytes - 3072)
    assert core.bytes == 64 * (5 + 1 + 9 + 1)
    assert core.flops == 4 * 32 * 14


def test_the_first_layer_reads_an_embedding_row_for_each_token() -> None:
    plain, _ = attention_parts(rates(), shape(), [(3, 3)])
    first, _ = attention_parts(rates(), shape(embedding_row_bytes=100), [(3, 3)])
    assert first.bytes - plain.bytes == 300


def test_no_chunks_no_parts() -> None:
    assert attention_parts(rates(), shape(), []) == []


@pytest.mark.parametrize("chunk", [(0, 4), (5, 4), (-1, 2)])
def test_impossible_chunks_are_refused(chunk: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 <= new tokens <= context"):
        attention_parts(rates(), shape(), [chunk])


@given(st.integers(1, 200), st.integers(0, 300), windows, st.integers(1, 50))
def test_more_tokens_or_context_never_shorten(new: int, old: int, window: int | None, more: int) -> None:
    def seconds(new: int, old: int) -> Fraction:
        return sum(
            (p.seconds for p in attention_parts(rates(10**9), shape(window=window), [(new, old + new)])), Fraction()
        )

    assert seconds(new, old) <= seconds(new + more, old)
    assert seconds(new, old) <= seconds(new, old + more)
