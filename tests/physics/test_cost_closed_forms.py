"""Costs of Mixtral-8x7B in bf16 on a machine of round numbers against closed forms typed here, deviation printed.

The machine: memory 1 TB/s = 1 B a ps, 50 FLOP a ps (100 TFLOP/s at 50 %), graph_replay 20 us, kernel_launch 5 us. The
model: width 4096, 32 heads and 8 key-value heads of 128, 8 experts of 3 matrices of 4096 x 14336, vocabulary 32000,
2 B a weight.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from moesim.cost.model import CostModel
from moesim.model.fields import from_dict
from moesim.model.presets import read_fields
from tests.support.round_machine import round_machine

US = 10**6  # ticks
REPLAY, KERNEL = 20 * US, 5 * US
D, QUERY, KEYS, INNER, N, VOCAB = 4096, 4096, 2 * 1024, 14336, 8, 32000
EXPERT = 3 * D * INNER * 2  # bytes: 352,321,536
KV_TOKEN = 2 * 8 * 128 * 2  # bytes: 4,096
ATTENTION = (2 * D * QUERY + D * KEYS) * 2 + 2 * D * 2  # bytes of weights and the two norms
TOKEN = 2 * D * 2 + 2 * (2 * QUERY * 2)  # bytes a token moves: in and out, queries and outputs written and read


def mixtral(weights: str = "bf16", **machine: Any) -> CostModel:
    fields = read_fields("mixtral-8x7b") | {"weights": {"default": weights}, "kv_cache": "bf16"}
    return CostModel(round_machine(**machine), from_dict(fields))


def close(what: str, got: int, closed: Fraction | int, tolerance: float = 0.0) -> None:
    """Print the deviation from the closed form and hold it to the tolerance (0: one tick of rounding up)."""
    deviation = float(Fraction(got) / Fraction(closed) - 1)
    print(f"{what}: {got} ps, closed form {float(closed):.1f} ps, deviation {deviation:+.4%}")
    assert abs(deviation) <= tolerance if tolerance else 0 <= got - closed < 1


def test_decode_attention_is_weights_and_keys_over_bandwidth() -> None:
    cost, contexts = mixtral(), [100, 2000, 4096]
    got = cost.attention_batch(1, contexts)
    assert got.why == "memory"
    close("decode attention, batch 3", got.ticks, REPLAY + ATTENTION + 3 * TOKEN + KV_TOKEN * (100 + 2000 + 4096 + 3))
    close("against weights and keys alone", got.ticks - REPLAY, ATTENTION + KV_TOKEN * (100 + 2000 + 4096), 0.002)


def test_keys_and_values_make_decode_linear_in_context() -> None:
    cost = mixtral()
    times = [cost.attention(1, 1, context).ticks for context in (1000, 2000, 3000, 4000)]
    steps = [b - a for a, b in pairwise(times)]
    print(f"ticks for 1000 more tokens of context: {steps}, closed form {1000 * KV_TOKEN}")
    assert steps == [1000 * KV_TOKEN] * 3


def test_a_sliding_window_caps_the_growth() -> None:
    fields = read_fields("gpt-oss-20b")
    cost = CostModel(round_machine(), from_dict(fields))
    assert fields["windows"] == [128, "full"]
    sliding, full = ([cost.attention(layer, 1, c).ticks for c in (64, 128, 129, 4096)] for layer in (2, 3))
    token = 2 * 8 * 64 * 2  # bytes of keys and values
    print(f"sliding {sliding}, full {full}")
    assert [t - sliding[0] for t in sliding] == [0, 64 * token, 64 * token, 64 * token]
    assert [t - full[0] for t in full] == [0, 64 * token, 65 * token, 4032 * token]


def test_prefill_attention_is_compute_bound() -> None:
    cost, tokens = mixtral(), 4096
    got = cost.attention(1, tokens, tokens)
    assert got.why == "compute"
    projections = 2 * tokens * (2 * D * QUERY + D * KEYS)
    scores = 4 * QUERY * tokens * (tokens + 1) // 2
    close("prefill of 4096", got.ticks, REPLAY + Fraction(projections + scores, 50))


def test_decode_experts_are_linear_in_distinct_experts() -> None:
    cost = mixtral()
    pair = 2 * D * 2 + 2 * INNER * 2  # in and out, inner written and read
    for distinct in range(1, N + 1):
        got = cost.experts(0, N, distinct)
        assert got.why == "memory"
        close(f"{distinct} experts", got.ticks, REPLAY + distinct * EXPERT + N * pair)


def test_the_knee_of_the_roofline_is_where_arithmetic_meets_bytes() -> None:
    cost = mixtral()
    # rows m: 6 D INNER m / 50 = EXPERT + m pair
    pair = 2 * D * 2 + 2 * INNER * 2
    knee = Fraction(EXPERT) / (Fraction(6 * D * INNER, 50) - pair)
    print(f"knee at {float(knee):.2f} rows an expert (weights alone: 50)")
    below, above = int(knee), int(knee) + 1
    assert (cost.experts(0, below, 1).why, cost.experts(0, above, 1).why) == ("memory", "compute")
    close("above the knee", cost.experts(0, 4 * above, 1).ticks, REPLAY + Fraction(6 * D * INNER * 4 * above, 50))


def test_weight_only_formats_move_fewer_bytes_and_compute_the_same() -> None:
    full, packed = mixtral("bf16"), mixtral("int4-g128")
    close("int4 over bf16 bytes", packed.experts(0, 1, 1).ticks - REPLAY, Fraction(EXPERT * 4156, 16000), 0.001)
    assert packed.experts(0, 4096, 1).ticks == full.experts(0, 4096, 1).ticks


def test_int8_weights_compute_twice_as_fast_where_the_machine_does() -> None:
    full, byte = mixtral("bf16"), mixtral("int8")
    big = 4096
    assert full.experts(0, big, 1).why == byte.experts(0, big, 1).why == "compute"
    assert full.experts(0, big, 1).ticks - REPLAY == 2 * (byte.experts(0, big, 1).ticks - REPLAY)


@pytest.mark.parametrize(("launch", "floor"), [("graph", 0), ("piecewise", REPLAY), ("eager", 3 * KERNEL)])
def test_small_work_ends_at_the_launch_floor(launch: str, floor: int) -> None:
    cost = mixtral(**{"runtime.launch": launch, "accelerator.memory.bandwidth": "1000 TB/s"})
    got = cost.router(0, 1)
    work = Fraction(2 * D * N, 50)  # 1.3 ns: memory is no limit here
    close(f"router, {launch}", got.ticks, floor + work)
    assert got.why == ("compute" if launch == "graph" else "launch")


def test_the_head_reads_its_matrix_once() -> None:
    got = mixtral().head(1)
    close("head", got.ticks, REPLAY + VOCAB * D * 2 + D * 2 + 2 * (D + VOCAB))


def test_a_whole_resident_decode_step_is_active_bytes_over_bandwidth() -> None:
    cost, context = mixtral(), 1000
    total = cost.head(1).ticks
    for layer in range(32):
        total += cost.attention(layer, 1, context).ticks + cost.router(layer, 1).ticks + cost.experts(layer, 2, 2).ticks
    replays = (2 * 32 + 1) * REPLAY
    active = 12_879_925_248 - VOCAB * D  # parameters that a token reads: the published 12.9 B less the embedding
    closed = replays + 2 * active + 32 * context * KV_TOKEN
    close("step with all experts resident", total, closed, 0.001)
