"""The placement seam: which experts stay on the accelerator for good, outside the caches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesim.core.registry import Registry

__all__ = ["PLACEMENTS", "NoPlacement", "Placement"]


class Placement:
    """Base class. Asked once, when the plan is built; pins nothing by default."""

    kind = ""

    def pin(self, popularity: NDArray[np.float64], expert_bytes: Sequence[int]) -> NDArray[np.bool_]:
        """The mask [L, N] of pinned experts.

        popularity    [L, N] how often each expert is picked (any scale); below 0 where there is no such expert
        expert_bytes  [L] bytes of one expert, 0 for layers without routed experts
        """
        return np.zeros(popularity.shape, dtype=np.bool_)


PLACEMENTS: Registry[Placement] = Registry("placement")


@PLACEMENTS.register("none")
class NoPlacement(Placement):
    """Every routed expert competes for the caches."""

    kind = "none"
