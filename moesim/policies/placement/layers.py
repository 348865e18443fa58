"""Pin all experts of some layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesim.errors import Fault, InputError
from moesim.policies.placement.base import PLACEMENTS, Placement

__all__ = ["LayersPlacement"]


@PLACEMENTS.register("layers")
class LayersPlacement(Placement):
    """Every expert of the listed layers, numbered as in the model (dense layers count, and cannot be listed).

    Changed events against `none`: these layers always hit; the other layers share a smaller cache.
    """

    kind = "layers"

    def __init__(self, *, layers: Sequence[int]) -> None:
        self._layers = tuple(layers)

    def pin(self, popularity: NDArray[np.float64], expert_bytes: Sequence[int]) -> NDArray[np.bool_]:
        """As the base says. Raises InputError for layers that do not exist or have no routed experts."""
        moe = [layer for layer, size in enumerate(expert_bytes) if size > 0]
        faults = [
            Fault(field=f"placement.pinned.layers.{i}", got=layer, allowed=f"a layer with experts: {_ranges(moe)}")
            for i, layer in enumerate(self._layers)
            if layer not in moe
        ]
        if faults:
            raise InputError(*faults)
        mask = np.zeros(popularity.shape, dtype=np.bool_)
        mask[list(self._layers)] = popularity[list(self._layers)] >= 0
        return mask


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers for people: ``0, 2 to 5``."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs) or "none"
