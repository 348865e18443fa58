"""What an accelerator can do at best: arithmetic by data type, memory, second-level cache; and one kernel priced on
it.

    compute = flops * t_eff(rows) / (rows * peak)          t_eff(rows) = rows / efficiency(rows), made monotone
    (Service) memory  = max(t_mem(bytes), t_l2(through))
    bytes   = streamed + 2 max(0, transient - l2.size)     through = streamed + 2 transient

streamed: B that must cross the memory bus (weights, KV cache, inputs, outputs). transient: B that one kernel writes
and the next reads (the inner activations of a gated FFN); a cache of l2.size holds as much of it as fits and the
rest crosses the bus twice. Everything crosses the second-level cache once, so its bandwidth is a floor too. Without
a cache in the profile, transient bytes all cross the bus. Left out: re-reads of a weight by later row tiles, which
are part of a measured efficiency(rows). rows: rows of the GEMM that share one weight, the x of an efficiency curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from moesim.cost.roofline import Part
from moesim.cost.service import Service

__all__ = ["ACTIVATION_BYTES", "Rates"]

# activations between kernels are 16-bit in every engine modelled here, whatever the weights are stored in
ACTIVATION_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Rates:
    """memory, l2: bytes -> s. efficiency: rows -> rows / ratio. peaks: data type -> FLOP/s, dense. l2_size: B (0: no
    cache)."""

    memory: Service
    efficiency: Service
    peaks: Mapping[str, Fraction]
    l2: Service | None = None
    l2_size: int = 0

    def kept(self, transient: int) -> int:
        """Bytes of a transient that cross the memory bus."""
        return 2 * max(0, transient - (self.l2_size if self.l2 else 0))

    def part(
        self, name: str, *, flops: int, rows: int | Fraction, dtype: str, streamed: int, transient: int = 0
    ) -> Part:
        """One kernel (equations above). Raises KeyError if the accelerator has no such data type."""
        compute = flops * self.efficiency.time(rows) / (rows * self.peaks[dtype]) if flops else Fraction(0)
        moved = streamed + self.kept(transient)
        memory = self.memory.time(moved)
        if self.l2:
            memory = max(memory, self.l2.time(streamed + 2 * transient))
        return Part(name, dtype, flops, moved, compute, memory)
