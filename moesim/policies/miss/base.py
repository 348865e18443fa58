"""The miss seam: what to do about an expert that is needed and not there."""

from __future__ import annotations

from enum import Enum

from moesim.core.registry import Registry
from moesim.policies.view import View

__all__ = ["MISSES", "Action", "LoadMiss", "Miss"]


class Action(Enum):
    """What happens to one missing expert."""

    LOAD = "load"
    """Claim room, transfer it, compute it on the accelerator."""


class Miss:
    """Base class. To be asked once for each miss of a set, in demand order, before the host walks the list.

    No engine asks yet: `load`, the only kind, is what they do.
    """

    kind = ""

    def decide(self, view: View, step: int, layer: int, expert: int, weight: int) -> Action:
        """The action for an expert whose largest router weight in the set is `weight` (fixed point 2**-32)."""
        return Action.LOAD


MISSES: Registry[Miss] = Registry("miss")


@MISSES.register("load")
class LoadMiss(Miss):
    """Every missing expert is loaded."""

    kind = "load"
