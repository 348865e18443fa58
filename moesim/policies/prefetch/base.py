"""The prefetch seam: what to bring before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from moesim.core.registry import Registry
from moesim.policies.view import View

__all__ = ["PREFETCHES", "Prefetch"]


class Prefetch:
    """Base class. The engine asks at each source point; what is there or on its way already moves nothing."""

    kind = ""

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        """Predictions made at source point (step, layer): (target step, target layer, expert), best first."""
        return ()


PREFETCHES: Registry[Prefetch] = Registry("prefetch")


@PREFETCHES.register("none")
class NoPrefetch(Prefetch):
    """Demand loads only."""

    kind = "none"
