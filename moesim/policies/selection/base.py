"""The selection seam: which experts a token uses, given what the cache holds."""

from __future__ import annotations

from collections.abc import Sequence

from moesim.core.registry import Registry
from moesim.policies.view import View

__all__ = ["SELECTIONS", "RouterSelection", "Selection"]


class Selection:
    """Base class. To be asked once for each token at each MoE layer, after the router and before the lookup.

    No engine asks yet: `router`, the only kind, is what a plan holds. `changes` tells an engine whether to ask at all:
    a policy that keeps the router's choice costs nothing and leaves the sets of a plan as they were laid out.
    """

    kind = ""
    changes = True
    """False: always the router's own picks."""

    def select(
        self, view: View, step: int, layer: int, picks: Sequence[int], weights: Sequence[int]
    ) -> Sequence[tuple[int, int]]:
        """(expert, weight) of one token, best first, distinct; `picks` and fixed-point `weights` are the router's."""
        return list(zip(picks, weights, strict=True))


SELECTIONS: Registry[Selection] = Registry("selection")


@SELECTIONS.register("router")
class RouterSelection(Selection):
    """The router's own top-k, whatever the cache holds."""

    kind = "router"
    changes = False
