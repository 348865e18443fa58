"""How one tensor is stored: payload bits, tiles that share scales, padding, and what its multiply runs in.

A matrix W[rows, cols] computes y = W x, so `cols` is the input width and one row is what a dot product reads.
Quantizers share a scale (and a zero point) among a tile of ``tile_rows x tile_cols`` weights.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from moesim.errors import Fault, InputError

__all__ = ["BF16", "FLOAT_CHAIN", "FP16", "FP32", "Encoding"]

# What 16-bit arithmetic runs in, best first: T4-class chips have no bf16, some hosts have neither.
FLOAT_CHAIN = ("bf16", "fp16", "fp32")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Storage of one tensor.

    bits       payload bits of one weight
    tile_rows, tile_cols   weights that share scales; `tile_cols` None is a whole row; both None: no scales at all
    tile_bits  bits of scales and zero points per tile
    padded     whether a row is filled up to whole tiles (blocks are); else a begun tile costs its scales only
    compute    arithmetic the multiply runs in, best first; the first that the accelerator has is used
    native     the arithmetic that takes the stored numbers as they are; None: they are always unpacked first
    source     where the layout is written down
    """

    name: str
    bits: Fraction
    tile_rows: int | None = None
    tile_cols: int | None = None
    tile_bits: int = 0
    padded: bool = False
    compute: tuple[str, ...] = FLOAT_CHAIN
    native: str | None = None
    source: str = ""

    def tensor_bytes(self, rows: int, cols: int) -> int:
        """Bytes of W[rows, cols]: ceil((rows c bits + tiles tile_bits) / 8), with c = cols or, if padded, cols filled
        up to whole tiles, and tiles = ceil(rows / tile_rows) ceil(cols / tile_cols).
        """
        if self.tile_rows is None:
            tiles, stored = 0, cols
        else:
            width = self.tile_cols if self.tile_cols is not None else cols
            across = -(-cols // width)
            tiles = -(-rows // self.tile_rows) * across
            stored = across * width if self.padded else cols
        total = rows * stored * self.bits + tiles * self.tile_bits
        return -(-total.numerator // (8 * total.denominator))

    @property
    def bits_per_weight(self) -> Fraction:
        """Bits of one weight with its share of scales, in whole tiles; scales of whole rows are left out."""
        if self.tile_rows is None or self.tile_cols is None:
            return self.bits
        return self.bits + Fraction(self.tile_bits, self.tile_rows * self.tile_cols)

    def compute_dtype(self, supported: Collection[str]) -> str:
        """The arithmetic that a multiply with these weights runs in, on hardware that has `supported`.

        Raises InputError (field hardware.accelerator.compute) if it has none of `compute`.
        """
        for dtype in self.compute:
            if dtype in supported:
                return dtype
        raise InputError(
            Fault(
                message=f"{self.name} weights cannot be computed with",
                field="hardware.accelerator.compute",
                got=", ".join(sorted(supported)) or "nothing",
                allowed=f"at least one of {', '.join(self.compute)}",
            )
        )

    def dequantizes(self, supported: Collection[str]) -> bool:
        """Whether weights must be unpacked or converted before the multiply (work that `cost` may price)."""
        return self.compute_dtype(supported) != self.native


_IEEE = "https://en.wikipedia.org/wiki/IEEE_754"
FP32 = Encoding(name="fp32", bits=Fraction(32), compute=("fp32", "bf16", "fp16"), native="fp32", source=_IEEE)
FP16 = Encoding(name="fp16", bits=Fraction(16), compute=("fp16", "bf16", "fp32"), native="fp16", source=_IEEE)
BF16 = Encoding(
    name="bf16", bits=Fraction(16), native="bf16", source="https://en.wikipedia.org/wiki/Bfloat16_floating-point_format"
)
