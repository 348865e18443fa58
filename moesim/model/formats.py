"""Weight formats by name: which encoding each tensor gets, in the way published checkpoints of that format do it.

| name                 | one weight                                                          | multiply, best first    |
|----------------------|---------------------------------------------------------------------|-------------------------|
| bf16, fp16           | 16 bits                                                             | bf16 / fp16             |
| fp8                  | 8 bits (E4M3), one float32 scale per 128 x 128 tile                 | fp8, else converted     |
| int8                 | 8 bits, one 16-bit scale per output row                             | int8, else converted    |
| int4-g128            | 4 bits; per 128 along a row a 16-bit scale, a 4-bit zero: 4.15625   | 16-bit, after unpacking |
| mxfp4                | 4 bits (E2M1), an 8-bit power of two per 32: 4.25                   | 16-bit, after unpacking |
| q4_k_m               | llama.cpp's mix of Q4_K (4.5) and Q6_K (6.5625), see gguf.py        | int8, after unpacking   |
| q8_0                 | 8 bits, one 16-bit scale per 32: 8.5                                | int8, after unpacking   |
| {bits_per_weight: x} | x bits, whatever they hold                                          | 16-bit, after unpacking |

As `weights.default`, a quantized format leaves the tensor classes that its published checkpoints leave (`leaves`:
router, embedding and head; for mxfp4 also attention and dense layers) in bf16. Naming the class (`weights.head: fp8`)
overrules that.

Vectors (biases, norms, attention sinks) are never quantized: 16 bits, in GGUF files 32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from moesim.model import gguf
from moesim.model.encoding import BF16, FLOAT_CHAIN, FP16, FP32, Encoding
from moesim.model.gguf import Where

__all__ = ["CLASSES", "FORMATS", "KV_BITS", "Format", "bits_per_weight"]

# Tensor classes that `weights` can name.
CLASSES = ("experts", "attention", "router", "shared", "dense", "embedding", "head")

FP8 = Encoding(  # weight_block_size, weight_scale_inv
    name="fp8", bits=Fraction(8), tile_rows=128, tile_cols=128, tile_bits=32,
    compute=("fp8", *FLOAT_CHAIN), native="fp8",
    source="https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/README_WEIGHTS.md",
)  # fmt: skip
INT8 = Encoding(  # W8A8, strategy channel: weight_scale[rows, 1] in the model's 16-bit dtype
    name="int8", bits=Fraction(8), tile_rows=1, tile_cols=None, tile_bits=16,
    compute=("int8", *FLOAT_CHAIN), native="int8",
    source="https://github.com/vllm-project/llm-compressor",
)  # fmt: skip
INT4_G128 = Encoding(
    name="int4-g128", bits=Fraction(4), tile_rows=1, tile_cols=128, tile_bits=16 + 4, padded=True,
    source="https://docs.vllm.ai/en/v0.9.0/api/vllm/model_executor/layers/quantization/awq_marlin.html",
)  # fmt: skip
MXFP4 = Encoding(
    name="mxfp4", bits=Fraction(4), tile_rows=1, tile_cols=32, tile_bits=8, padded=True,
    source="https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Format:
    """A named format.

    matrix  the encoding of a matrix, unless `mix` decides per tensor
    mix     (role, cols, where) -> Encoding, or None
    vector  the encoding of biases and norms
    leaves  classes that this format as a default leaves alone, and what they are in
    """

    name: str
    matrix: Encoding
    mix: Callable[[str, int, Where], Encoding] | None = None
    vector: Encoding = BF16
    leaves: Mapping[str, Encoding] = field(default_factory=lambda: MappingProxyType({}))

    def encoding(self, tensor_class: str, role: str, cols: int, where: Where, *, named: bool) -> Encoding:
        """The encoding of one tensor. `named`: the user gave this format to this class, not as the default.

        `role` "vector" is a bias or norm; the others are those of `gguf.q4_k_m`.
        """
        if role == "vector":
            return self.vector
        if not named and tensor_class in self.leaves:
            return self.leaves[tensor_class]
        return self.mix(role, cols, where) if self.mix else self.matrix


def _leaving(*classes: str) -> Mapping[str, Encoding]:
    return MappingProxyType(dict.fromkeys(classes, BF16))


_USUAL = _leaving("router", "embedding", "head")  # "modules_to_not_convert" / "ignore" of AWQ, GPTQ and FP8 checkpoints

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        one.name: one
        for one in (
            Format(name="bf16", matrix=BF16),
            Format(name="fp16", matrix=FP16, vector=FP16),
            Format(name="fp8", matrix=FP8, leaves=_USUAL),
            Format(name="int8", matrix=INT8, leaves=_USUAL),
            Format(name="int4-g128", matrix=INT4_G128, leaves=_USUAL),
            # gpt-oss: modules_to_not_convert = self_attn, mlp.router, embed_tokens, lm_head
            Format(name="mxfp4", matrix=MXFP4, leaves=_leaving("router", "embedding", "head", "attention", "dense")),
            Format(name="q4_k_m", matrix=gguf.Q4_K, mix=gguf.q4_k_m, vector=FP32),
            Format(name="q8_0", matrix=gguf.Q8_0, mix=gguf.q8_0, vector=FP32),
        )
    }
)

# Bits of one stored key or value element, with its share of scales: fp8 and int8 caches scale per tensor.
KV_BITS: Mapping[str, Fraction] = MappingProxyType(
    {
        "bf16": Fraction(16),
        "fp16": Fraction(16),
        "fp8": Fraction(8),
        "int8": Fraction(8),
        "q8_0": gguf.Q8_0.bits_per_weight,
    }
)


def bits_per_weight(bits: Fraction) -> Format:
    """A format of which only the average size is known: `bits` for every weight of every matrix it is given to."""
    return Format(
        name=f"{float(bits):g} bits",
        matrix=Encoding(name=f"{float(bits):g} bits", bits=bits, source="given by the user"),
    )
