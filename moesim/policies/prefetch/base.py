"""The prefetch seam: what to bring before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from moesim.core.registry import Registry
from moesim.policies.view import View

__all__ = ["PREFETCHES", "Prefetch"]


class Prefetch:
    """Base class. The engine asks at each source point; what is there or on its way already moves nothing.

    A policy of a script or plug-in says here what a scenario says of the built-in ones (rule 8 of
    `moesim.engine.spec`): where its source point is, how long it takes, and where its copies go.
    """

    kind = ""
    source: Literal["lookup", "layer_start"] = "lookup"
    into: Literal["cache", "staging"] = "cache"
    slots: int = 4
    """Staging slots, with `into = "staging"` (4: Eliseev & Mazur, arXiv 2312.17238)."""
    t_pred_ps: int = 0
    """Ticks of 1 ps from the source point to the issue of its prediction."""
    touch_on_predict: bool = False

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        """Predictions made at source point (step, layer): (target step, target layer, expert), best first."""
        return ()


PREFETCHES: Registry[Prefetch] = Registry("prefetch")


@PREFETCHES.register("none")
class NoPrefetch(Prefetch):
    """Demand loads only."""

    kind = "none"
