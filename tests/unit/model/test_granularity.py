"""What splitting and merging experts keeps, what it changes, and what it refuses."""

from __future__ import annotations

from fractions import Fraction

import pytest

from moesim.errors import InputError
from moesim.model import flops
from moesim.model.fields import from_dict
from moesim.model.granularity import allowed_granularities, split
from moesim.model.presets import load_preset, read_fields

HALF = Fraction(1, 2)


def router_params(spec: object) -> int:
    return sum(t.params for i in spec.moe_layers for t in spec.router_tensors(i))  # type: ignore[attr-defined]


@pytest.mark.parametrize("granularity", [HALF, Fraction(2), Fraction(4), Fraction(64), Fraction(7, 2)])
@pytest.mark.parametrize("experts", ["bf16", "int4-g128"])
def test_keeps_parameters_bytes_and_flops(granularity: Fraction, experts: str) -> None:
    before = from_dict({**read_fields("mixtral"), "weights": {"default": "bf16", "experts": experts}})
    after = split(before, granularity)
    moe = after.layers[0].moe
    assert moe is not None
    assert [moe.n_experts, moe.top_k] == [8 * granularity, 2 * granularity]
    assert moe.d_expert * granularity == 14336
    assert after.params() - router_params(after) == before.params() - router_params(before)
    assert router_params(after) == granularity * router_params(before)
    assert flops.expert(after, 0, after.top_k) == flops.expert(before, 0, before.top_k)
    assert after.attention_bytes(0) == before.attention_bytes(0)
    padded = experts == "int4-g128" and granularity == 64  # rows of 224 in groups of 128: filled up to 256
    grown = Fraction(8, 7) if padded else 1
    matrix = before.expert_bytes(0) // 3
    assert after.routed_bytes() == 32 * 8 * matrix * (2 + grown)


def test_q4_k_m_rows_that_blocks_do_not_divide() -> None:
    """Qwen3 at G = 2 has down rows of 384: Q4_K becomes Q5_0, Q6_K becomes Q8_0, as llama.cpp would write them."""
    before = from_dict({**read_fields("qwen3"), "weights": {"default": "q4_k_m"}})
    after = split(before, Fraction(2))
    q4_matrix = 384 * 2048 // 256 * 144
    assert after.expert_bytes(7) == 2 * q4_matrix + 2048 * 384 // 32 * 22
    assert after.expert_bytes(8) == 2 * q4_matrix + 2048 * 384 // 32 * 34


def test_the_mix_of_eight_experts_stays_that_of_the_published_model() -> None:
    before = from_dict({**read_fields("mixtral"), "weights": {"default": "q4_k_m"}})
    after = split(before, Fraction(2))
    assert [after.attention_bytes(i) for i in range(32)] == [before.attention_bytes(i) for i in range(32)]
    assert after.routed_bytes() == before.routed_bytes()


def test_there_and_back() -> None:
    before = load_preset("mixtral")
    assert split(split(before, Fraction(4)), Fraction(1, 4)) == before
    assert split(before, Fraction(1)) is before
    assert split(split(before, Fraction(2)), Fraction(2)) == split(before, Fraction(4))


def test_given_bytes_are_divided_and_rounded_up() -> None:
    spec = split(load_preset("mixtral").with_expert_bytes([101] * 32, "a file"), Fraction(2))
    assert spec.expert_bytes(0) == 51
    assert spec.expert_bytes_source == "a file, divided by granularity 2"


def test_allowed_values_by_brute_force() -> None:
    spec = load_preset("gpt-oss-20b")  # 32 experts, 4 per token, width 2880
    whole = {
        Fraction(a, b)
        for a in range(1, 2881)
        for b in range(1, 33)
        if (32 * a) % b == 0 and (4 * a) % b == 0 and (2880 * b) % a == 0
    }
    assert set(allowed_granularities(spec)) == whole


@pytest.mark.parametrize("granularity", [3, Fraction(1, 4), 14337, Fraction(1, 3), 28672])
def test_refusals_name_the_field_and_what_is_allowed(granularity: Fraction) -> None:
    with pytest.raises(InputError) as caught:
        split(load_preset("mixtral"), Fraction(granularity))
    (fault,) = caught.value.faults
    assert fault.field == "model.granularity"
    assert fault.allowed.startswith("1/2, 1, 2, 7/2, 4, 7, 8")
    assert fault.nearest


@pytest.mark.parametrize("name", ["mixtral", "qwen3", "gpt-oss"])
def test_every_allowed_value_works(name: str) -> None:
    spec = load_preset(name)
    pairs = {flops.expert(after, 0, after.top_k) for after in (split(spec, g) for g in allowed_granularities(spec))}
    assert pairs == {flops.expert(spec, 0, spec.top_k)}
