"""Feed-forward work: a group of routed experts, shared experts, a dense FFN, the router, the LM head.

A gated FFN of m matrices (3: gate, up, down; 2: no gate) and inner width f on `pairs` token-expert pairs over
`distinct` experts:

  flops = 2 m d f pairs                       rows = pairs / distinct (mean rows of an expert: the x of an efficiency
  curve) bytes = distinct * expert_bytes + 2 d pairs a            transient = f pairs a

Weights of a distinct expert are read once however many tokens it serves; they move at their stored size. a = 2 B.
The router's weights scale the output inside the last kernel. A linear layer (router, head) is one GEMM:

  flops = 2 d_in d_out T      bytes = weights + (d_in + d_out) T a      rows = T

Left out: imbalance between experts of a group beyond the mean (a group is priced by pairs and distinct alone).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from moesim.cost.rates import ACTIVATION_BYTES, Rates
from moesim.cost.roofline import Part

__all__ = ["FfnShape", "LinearShape", "ffn_part", "ffn_table", "linear_part"]


@dataclass(frozen=True, kw_only=True)
class FfnShape:
    """One expert: d_model and d_inner (elements), matrices (2 or 3), bytes of its weights as stored, data type of
    the arithmetic."""

    d_model: int
    d_inner: int
    n_matrices: int
    weight_bytes: int
    dtype: str

    @property
    def flops_per_pair(self) -> int:
        """FLOP of one token through one expert: 2 m d f."""
        return 2 * self.n_matrices * self.d_model * self.d_inner

    @property
    def streamed_per_pair(self) -> int:
        """B of input and output of one pair."""
        return 2 * self.d_model * ACTIVATION_BYTES

    @property
    def transient_per_pair(self) -> int:
        """B of the inner activation of one pair."""
        return self.d_inner * ACTIVATION_BYTES


@dataclass(frozen=True, kw_only=True)
class LinearShape:
    """One GEMM: input and output width, B of its weights, data type of the arithmetic."""

    d_in: int
    d_out: int
    weight_bytes: int
    dtype: str


def ffn_part(rates: Rates, shape: FfnShape, pairs: int, distinct: int, name: str = "experts") -> Part:
    """A group of `distinct` experts on `pairs` token-expert pairs. Raises ValueError unless 1 <= distinct <=
    pairs."""
    if not 1 <= distinct <= pairs:
        raise ValueError(f"a group has 1 <= distinct experts <= pairs: got {distinct} experts, {pairs} pairs")
    return rates.part(
        name,
        flops=shape.flops_per_pair * pairs,
        rows=Fraction(pairs, distinct),
        dtype=shape.dtype,
        streamed=distinct * shape.weight_bytes + shape.streamed_per_pair * pairs,
        transient=shape.transient_per_pair * pairs,
    )


def linear_part(rates: Rates, name: str, tokens: int, shape: LinearShape) -> Part:
    """One GEMM of `tokens` >= 1 rows."""
    return rates.part(
        name,
        flops=2 * shape.d_in * shape.d_out * tokens,
        rows=tokens,
        dtype=shape.dtype,
        streamed=shape.weight_bytes + (shape.d_in + shape.d_out) * tokens * ACTIVATION_BYTES,
    )


def ffn_table(rates: Rates, shape: FfnShape, max_pairs: int, max_distinct: int, launch: Fraction) -> NDArray[np.int64]:
    """Ticks of every group: int64 [max_pairs + 1, max_distinct + 1], equal to `ffn_part` plus launch, rounded up.

    Entries with no pair, no expert, or more experts than pairs are 0: no such group exists. Rounding up commutes
    with max, so each leg of the roofline is filled as integers on its own and the table is their maximum.
    """
    table = np.zeros((max_pairs + 1, max_distinct + 1), dtype=np.int64)
    real = np.tri(max_pairs + 1, max_distinct + 1, dtype=bool)
    real[:, :1] = False
    pairs, distinct = (axis.astype(np.int64) for axis in np.nonzero(real))
    if not pairs.size:
        return table
    per_row = Fraction(shape.flops_per_pair) / rates.peaks[shape.dtype]
    ticks = rates.efficiency.ticks(pairs, times=distinct, factor=per_row, extra=launch)
    streamed = distinct * shape.weight_bytes + pairs * shape.streamed_per_pair
    transient = pairs * shape.transient_per_pair
    kept = 2 * np.maximum(0, transient - (rates.l2_size if rates.l2 else 0))
    np.maximum(ticks, rates.memory.ticks(streamed + kept, extra=launch), out=ticks)
    if rates.l2:
        np.maximum(ticks, rates.l2.ticks(streamed + 2 * transient, extra=launch), out=ticks)
    table[pairs, distinct] = ticks
    return table
