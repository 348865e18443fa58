"""Bytes and variants of the models, against sizes worked out by hand and sizes of real files."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from moesim.errors import InputError
from moesim.model.fields import from_dict
from moesim.model.presets import load_preset, names, read_fields
from moesim.model.spec import ModelSpec


def stored(name: str, weights: Any, **more: Any) -> ModelSpec:
    return from_dict({**read_fields(name), "weights": {"default": weights}, **more})


def mean_expert(spec: ModelSpec) -> float:
    return sum(map(spec.expert_bytes, spec.moe_layers)) / len(spec.moe_layers)


# Bytes of one expert in MB as the files of the measured data state them (data README), and how far rounding reaches.
@pytest.mark.parametrize(
    ("name", "weights", "megabytes", "tolerance"),
    [
        ("mixtral-8x7b", "q4_k_m", 106.66, 0.005),
        ("mixtral-8x7b", "q8_0", 187.2, 0.05),
        ("mixtral-8x7b", "bf16", 352.3, 0.05),
        ("qwen3-30b-a3b", "int8", 4.72, 0.01),  # 4.7186 without its row scales
    ],
)
def test_expert_bytes_of_real_files(name: str, weights: str, megabytes: float, tolerance: float) -> None:
    assert mean_expert(stored(name, weights)) / 1e6 == pytest.approx(megabytes, abs=tolerance)


def test_expert_bytes_of_gpt_oss() -> None:
    # Three matrices of 2880 rows of 90 blocks of 17 bytes; biases of 3 x 2880 in bf16.
    assert load_preset("gpt-oss-20b").expert_bytes(0) == 3 * 2880 * 90 * 17 + 3 * 2880 * 2


def test_attention_bytes_by_hand() -> None:
    mixtral, gpt_oss = load_preset("mixtral-8x7b"), load_preset("gpt-oss-20b")
    assert mixtral.attention_bytes(0) == 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096)
    # Biases on q (4096), k and v (512 each), o (2880); one sink for each of 64 heads.
    assert gpt_oss.attention_bytes(0) == 2 * (2 * 4096 * 2880 + 2 * 512 * 2880 + 4096 + 512 + 512 + 2880 + 64)
    assert gpt_oss.router_bytes(0) == 2 * (32 * 2880 + 32)


def test_kv_cache() -> None:
    mixtral, gpt_oss = load_preset("mixtral-8x7b"), load_preset("gpt-oss-20b")
    assert mixtral.kv_bytes_per_token(0) == 2 * 8 * 128 * 2
    assert mixtral.kv_bytes(4096) == 32 * 4096 * 4096
    # Half of the layers keep 128 tokens.
    assert gpt_oss.kv_bytes(1000) == 12 * (128 + 1000) * 2 * 8 * 64 * 2
    assert gpt_oss.kv_bytes(100) == 24 * 100 * 2 * 8 * 64 * 2
    halved = from_dict({**read_fields("mixtral"), "kv_cache": "fp8"})
    assert 2 * halved.kv_bytes(4096) == mixtral.kv_bytes(4096)
    with pytest.raises(IndexError):
        mixtral.kv_bytes_per_token(32)


@pytest.mark.parametrize("name", names())
def test_bf16_bytes_are_twice_the_parameters(name: str) -> None:
    spec = stored(name, "bf16")
    assert spec.resident_bytes() + spec.routed_bytes() == 2 * spec.params()


def test_tied_embedding_counts_once() -> None:
    untied, tied = load_preset("mixtral"), from_dict({**read_fields("mixtral"), "tie_embeddings": True})
    table = 2 * 32000 * 4096
    assert untied.resident_bytes() - tied.resident_bytes() == table
    assert tied.head_bytes() == tied.embedding_bytes() == table
    assert untied.params() - tied.params() == 32000 * 4096


def test_shared_experts() -> None:
    spec = from_dict({**read_fields("qwen3"), "n_shared": 2, "d_shared": 512})
    assert spec.shared_bytes(0) == 2 * 3 * 2 * 512 * 2048
    assert spec.params() - load_preset("qwen3").params() == 48 * 3 * 2 * 512 * 2048


def test_bits_per_weight_is_exact() -> None:
    # 4.85 bits of 3 x 4096 x 14336 weights: 35599155.2 bytes a matrix, filled up.
    assert stored("mixtral", {"bits_per_weight": 4.85}).expert_bytes(0) == 3 * 35599156


def test_top_k() -> None:
    qwen3 = load_preset("qwen3")
    assert qwen3.with_top_k(6) == from_dict({**read_fields("qwen3"), "top_k": 6})
    assert qwen3.with_top_k(6).top_k == 6
    assert qwen3.active_params() - qwen3.with_top_k(6).active_params() == 48 * 2 * 3 * 2048 * 768
    for wrong in (0, 129):
        with pytest.raises(InputError) as caught:
            qwen3.with_top_k(wrong)
        assert caught.value.faults[0].field == "model.top_k"


def test_given_expert_bytes_win() -> None:
    spec = load_preset("gpt-oss").with_expert_bytes(list(range(1, 25)), "a recording")
    assert [spec.expert_bytes(layer) for layer in (0, 23)] == [1, 24]
    assert spec.expert_bytes_source == "a recording"
    assert spec.routed_bytes() == 32 * sum(range(1, 25))
    written = from_dict({**read_fields("gpt-oss"), "expert_bytes": "2 MiB"})
    assert {written.expert_bytes(layer) for layer in range(24)} == {2**21}
    listed = from_dict({**read_fields("gpt-oss"), "expert_bytes": ["2 MB"] * 24})
    assert listed.routed_bytes() == 24 * 32 * 2_000_000
    with pytest.raises(InputError, match=r"model\.expert_bytes.*24 positive sizes"):
        load_preset("gpt-oss").with_expert_bytes([1], "a recording")


def test_compute_dtype() -> None:
    spec = from_dict({**read_fields("mixtral"), "weights": {"default": "bf16", "experts": "int4-g128"}})
    assert spec.compute_dtype("experts", ["bf16", "int8"]) == "bf16"
    assert spec.dequantizes("experts", ["bf16"])
    assert not spec.dequantizes("attention", ["bf16"])
    for one in ("experts", "attention", "router", "shared", "dense", "embedding", "head"):
        assert spec.compute_dtype(one, ["bf16"]) == "bf16"


def test_experts_of_a_mixed_model_are_counted_where_they_are() -> None:
    spec = from_dict({**read_fields("mixtral"), "dense_layers": [0, 5], "d_ff": 14336})
    assert spec.moe_layers == tuple(layer for layer in range(32) if layer not in (0, 5))
    assert (spec.expert_bytes(0), spec.router_bytes(5), spec.is_moe(5)) == (0, 0, False)
    assert load_preset("mixtral").params() - spec.params() == 2 * (7 * 3 * 4096 * 14336 + 8 * 4096)


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"top_k": 9}, "model.top_k", "allowed 1 to 8"),
        ({"n_kv_heads": 5}, "model.n_kv_heads", "divisor of n_heads"),
        ({"d_model": 0}, "model.d_model", "greater than or equal to 1"),
        ({"d_model": 4096.0}, "model.d_model", "integer"),
        ({"d_modell": 1}, "model.d_modell", "nearest d_model"),
        ({"n_layers": None}, "model.n_layers", "integer"),
        ({"weights": {"default": "bf61"}}, "model.weights.default", "nearest bf16"),
        ({"weights": {"default": "bf16", "expert": "bf16"}}, "model.weights.expert", "nearest experts"),
        ({"weights": {"default": {"bits_per_weight": 0}}}, "model.weights.default.bits_per_weight", "greater than 0"),
        ({"kv_cache": "q4_k_m"}, "model.kv_cache", "allowed bf16"),
        ({"expert_bytes": 5}, "model.expert_bytes", "bare number"),
        ({"expert_bytes": ["1 MB"]}, "model.expert_bytes", "32 positive sizes"),
        ({"windows": []}, "model.windows", "1 to 32"),
        ({"windows": [128, "ful"]}, "model.windows.1", "full"),
        ({"n_shared": 1}, "model.d_shared", "width"),
        ({"dense_layers": [32], "d_ff": 1}, "model.dense_layers", "0 to 31"),
        ({"dense_layers": [1]}, "model.d_ff", "width"),
        ({"dense_layers": list(range(32)), "d_ff": 1}, "model.dense_layers", "at least one"),
        ({"granularity": 0}, "model.granularity", "greater than 0"),
        ({"granularity": float("nan")}, "model", "not plain data"),
        ({"sources": {"a": {"title": "t", "url": "u", "date": "soon"}}}, "model.sources.a.date", "pattern"),
    ],
)
def test_refused(change: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        from_dict({**read_fields("mixtral"), **change})
    assert [fault.field for fault in caught.value.faults] == [field]
    assert said in str(caught.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(InputError) as caught:
        from_dict({**read_fields("mixtral"), "d_model": -1, "kv_cache": "x", "zzz": 1})
    assert {fault.field for fault in caught.value.faults} == {"model.d_model", "model.kv_cache", "model.zzz"}


def test_granularity_in_a_file_multiplies_after_top_k() -> None:
    spec = from_dict({**read_fields("qwen3"), "top_k": 6, "granularity": 2})
    assert (spec.n_experts, spec.top_k, spec.granularity) == (256, 12, Fraction(2))
    merged = from_dict({**read_fields("qwen3"), "granularity": "1/4"})
    assert (merged.n_experts, merged.top_k) == (32, 2)
