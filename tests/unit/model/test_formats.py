"""Bits, tiles, padding and arithmetic of each encoding, against sizes worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from moesim.errors import InputError
from moesim.model import gguf
from moesim.model.encoding import BF16, FP16, FP32, Encoding
from moesim.model.formats import CLASSES, FORMATS, FP8, INT4_G128, INT8, MXFP4, bits_per_weight
from moesim.model.gguf import Where, more_bits, q4_k_m
from moesim.model.weights import Weights

HERE = Where(layer=20, n_layers=48, n_experts=128)


@pytest.mark.parametrize(
    ("encoding", "bits"),
    [
        (FP32, 32),
        (FP16, 16),
        (BF16, 16),
        (INT4_G128, Fraction(133, 32)),  # 4 + (16 + 4) / 128 = 4.15625
        (MXFP4, Fraction(17, 4)),  # 4 + 8 / 32
        (FP8, 8 + Fraction(32, 128 * 128)),
        (gguf.Q4_K, Fraction(9, 2)),
        (gguf.Q5_K, Fraction(11, 2)),
        (gguf.Q6_K, Fraction(105, 16)),  # 6.5625
        (gguf.Q5_0, Fraction(11, 2)),
        (gguf.Q5_1, 6),
        (gguf.Q8_0, Fraction(17, 2)),
    ],
)
def test_bits_per_weight(encoding: Encoding, bits: Fraction) -> None:
    assert encoding.bits_per_weight == bits
    # 1024 whole tiles of any of them take exactly that.
    assert encoding.tensor_bytes(1024, 4096) * 8 == 1024 * 4096 * bits


def test_int8_has_one_scale_per_row() -> None:
    assert INT8.tensor_bytes(768, 2048) == 768 * (2048 + 2)


def test_padding() -> None:
    # A row of 130 int4 weights takes two groups of 128, hence 256 x 4 bits and two times 20 bits: 133 bytes.
    assert INT4_G128.tensor_bytes(1, 130) == 133
    # A row of 33 mxfp4 weights: two blocks of 17 bytes.
    assert MXFP4.tensor_bytes(3, 33) == 3 * 34
    # 129 x 129 fp8 weights: no padding of weights, four scales.
    assert FP8.tensor_bytes(129, 129) == 129 * 129 + 4 * 4
    # 3 weights of 4.85 bits: 14.55 bits, two bytes.
    assert bits_per_weight(Fraction("4.85")).matrix.tensor_bytes(1, 3) == 2


def test_arithmetic() -> None:
    ada, ampere = ("bf16", "fp16", "fp8", "int8"), ("bf16", "fp16", "int8")
    assert [BF16.compute_dtype(ada), BF16.dequantizes(ada)] == ["bf16", False]
    assert [FP8.compute_dtype(ada), FP8.dequantizes(ada)] == ["fp8", False]
    assert [FP8.compute_dtype(ampere), FP8.dequantizes(ampere)] == ["bf16", True]
    assert [INT8.compute_dtype(ampere), INT8.dequantizes(ampere)] == ["int8", False]
    assert [INT4_G128.compute_dtype(ada), INT4_G128.dequantizes(ada)] == ["bf16", True]
    assert [MXFP4.compute_dtype(ada), MXFP4.dequantizes(ada)] == ["bf16", True]
    assert [gguf.Q4_K.compute_dtype(ada), gguf.Q4_K.dequantizes(ada)] == ["int8", True]
    assert [BF16.compute_dtype(["fp16"]), BF16.dequantizes(["fp16"])] == ["fp16", True]
    with pytest.raises(InputError, match=r"hardware\.accelerator\.compute"):
        BF16.compute_dtype(["int8"])


def test_more_bits_of_32_layers() -> None:
    """llama.cpp's rule by hand: layers 0 to 3, 6, 9, ... 27, and 28 to 31: sixteen of Mixtral's 32."""
    chosen = [layer for layer in range(32) if more_bits(layer, 32)]
    assert chosen == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


@pytest.mark.parametrize(
    ("role", "where", "encoding"),
    [
        ("gate", HERE, gguf.Q4_K),
        ("down", HERE, gguf.Q6_K),  # layer 20 = 6 + 14: (20 - 6) mod 3 = 2
        ("down", Where(layer=21, n_layers=48, n_experts=128), gguf.Q4_K),
        ("v", HERE, gguf.Q6_K),
        ("k", HERE, gguf.Q4_K),
        ("o", HERE, gguf.Q4_K),
        ("router", HERE, FP32),
        ("head", HERE, gguf.Q6_K),
        ("embedding", HERE, gguf.Q4_K),
        ("embedding", Where(layer=0, n_layers=48, n_experts=128, tied=True), gguf.Q6_K),
        ("k", Where(layer=5, n_layers=32, n_experts=8), gguf.Q8_0),
        ("v", Where(layer=5, n_layers=32, n_experts=8), gguf.Q8_0),
        ("o", Where(layer=5, n_layers=32, n_experts=8), gguf.Q5_K),
    ],
)
def test_q4_k_m(role: str, where: Where, encoding: Encoding) -> None:
    assert q4_k_m(role, 2048, where) is encoding


def test_rows_that_blocks_do_not_divide_fall_back() -> None:
    plain = Where(layer=21, n_layers=48, n_experts=128)
    assert q4_k_m("down", 384, HERE) is gguf.Q8_0  # from Q6_K
    assert q4_k_m("down", 384, plain) is gguf.Q5_0  # from Q4_K
    assert q4_k_m("o", 2880, Where(layer=5, n_layers=32, n_experts=8)) is gguf.Q5_1  # from Q5_K
    assert q4_k_m("down", 48, plain) is FP16
    assert q4_k_m("head", 2880, plain) is gguf.Q8_0
    assert gguf.q8_0("down", 48, plain) is FP16


def test_a_default_leaves_what_checkpoints_leave_and_a_named_class_does_not() -> None:
    weights = Weights(default="int4-g128", head="fp8")
    used = {cls: weights.encoding(cls, "up", 1024, HERE).name for cls in CLASSES}
    assert used == {
        "experts": "int4-g128", "attention": "int4-g128", "shared": "int4-g128", "dense": "int4-g128",
        "router": "bf16", "embedding": "bf16", "head": "fp8",
    }  # fmt: skip
    assert weights.encoding("experts", "vector", 1024, HERE) is BF16
    assert Weights(default="q4_k_m").encoding("norm", "vector", 1024, HERE) is FP32


def test_every_encoding_has_a_source() -> None:
    assert all(one.matrix.source for one in FORMATS.values())
