"""A prefetch policy that says what it is told to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moesim.policies.prefetch.base import Prefetch

__all__ = ["ScriptedPrefetch"]


class ScriptedPrefetch(Prefetch):
    """Predicts `script[step, layer]` at source point (step, layer): (target step, target layer, expert) each."""

    kind = "script"

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.script: Mapping[tuple[int, int], Sequence[tuple[int, int, int]]] = params["script"]

    def predict(self, view: Any, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        """The script's targets, in its order; nothing where it is silent."""
        return list(self.script.get((step, layer), ()))
