"""The block formats of ggml and the mixes that llama.cpp's quantizer makes of them.

Block sizes: ggml-common.h (``block_q4_K`` and so on), https://github.com/ggml-
org/llama.cpp/blob/master/ggml/src/ggml-common.h Which tensor gets which: ``llama_tensor_get_type`` in
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp (as of 2025). Norms, biases and the router
(``ffn_gate_inp``) are never quantized and stay in 32-bit floats.

A multiply quantizes its input to 8-bit blocks and takes integer dot products (``ggml_vec_dot_q4_K_q8_K`` and its GPU
kernels), hence int8 arithmetic first; the nibbles are unpacked on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from moesim.model.encoding import FLOAT_CHAIN, FP16, FP32, Encoding

__all__ = ["Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0", "Where", "more_bits", "q4_k_m", "q8_0"]

_SOURCE = "https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h"


def _block(name: str, bits: int, weights: int, block_bytes: int) -> Encoding:
    """A ggml block: `block_bytes` for `weights` consecutive weights of a row, `bits` each; the rest is scales."""
    return Encoding(
        name=name, bits=Fraction(bits), tile_rows=1, tile_cols=weights, tile_bits=8 * block_bytes - bits * weights,
        padded=True, compute=("int8", *FLOAT_CHAIN), native=None, source=_SOURCE,
    )  # fmt: skip


Q4_K = _block("q4_k", 4, 256, 144)  # 4.5 bits: two fp16, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles
Q5_K = _block("q5_k", 5, 256, 176)  # 5.5 bits
Q6_K = _block("q6_k", 6, 256, 210)  # 6.5625 bits: 16 int8 scales and one fp16
Q5_0 = _block("q5_0", 5, 32, 22)  # 5.5 bits
Q5_1 = _block("q5_1", 5, 32, 24)  # 6 bits
Q8_0 = _block("q8_0", 8, 32, 34)  # 8.5 bits: one fp16

# What replaces a 256-weight block in rows that 256 does not divide; rows that 32 does not divide either become fp16.
_FALLBACK = {"q4_k": Q5_0, "q5_k": Q5_1, "q6_k": Q8_0}


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the mix rules look at: the layer of how many, experts per layer (of the unsplit model), tied embeddings."""

    layer: int
    n_layers: int
    n_experts: int
    tied: bool = False


def more_bits(layer: int, n_layers: int) -> bool:
    """llama.cpp's ``use_more_bits``: the first eighth, the last eighth, and every third layer in between.

    >>> [layer for layer in range(16) if more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def _fitting(encoding: Encoding, cols: int) -> Encoding:
    if encoding.tile_cols is not None and cols % encoding.tile_cols:
        encoding = _FALLBACK.get(encoding.name, FP16)
        if encoding.tile_cols is not None and cols % encoding.tile_cols:
            return FP16
    return encoding


def q4_k_m(role: str, cols: int, where: Where) -> Encoding:
    """The encoding that the Q4_K_M mix gives a matrix of `role` (q, k, v, o, gate, up, down, router, embedding, head).

    FFN down and attention value matrices are Q6_K where `more_bits` holds, the output head is Q6_K (and so is an
    embedding that doubles as the head), everything else Q4_K. Models of exactly 8 experts have Q8_0 attention keys and
    values and a Q5_K attention output. Rows that 256 does not divide fall back (Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to
    Q8_0).
    """
    if role == "router":
        return FP32
    if role == "head" or (role == "embedding" and where.tied):
        return Q8_0 if cols % 256 else Q6_K
    chosen = Q4_K
    if role in ("v", "down") and more_bits(where.layer, where.n_layers):
        chosen = Q6_K
    if where.n_experts == 8:
        chosen = {"k": Q8_0, "v": Q8_0, "o": Q5_K}.get(role, chosen)
    return _fitting(chosen, cols)


def q8_0(role: str, cols: int, where: Where) -> Encoding:
    """The Q8_0 file type: every matrix Q8_0 but the router, which is never quantized."""
    return FP32 if role == "router" else _fitting(Q8_0, cols)
