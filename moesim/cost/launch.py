"""What starting an operation's kernels costs, in three ways an engine can start them.

eager      every operation pays kernels[operation] * kernel_launch.
piecewise  attention runs eagerly (its shapes change with the context); router, experts, shared, dense and head are
           one captured piece each: graph_replay.
graph      one graph_replay for each region that the host can replay without reading anything back. A layer with
           experts is cut after its router, because the host must read the chosen ids to know what to load:
             attention  one replay: the region attention + router, or attention + dense FFN
             router     nothing (inside the region of attention)
             dense      nothing (likewise)
             experts    one replay for each group (a set served in three groups pays three)
             shared     one replay: it needs no ids, but what it is grouped with is known only at run time
             head       one replay
           So a layer with experts, all resident and without shared experts, pays two replays, a dense layer one, and
           a step sum over layers + 1.

Launches are added to the work, not overlapped with it: at the batch sizes of offloaded decode the host is the slower
side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["MODES", "OPERATIONS", "Launch"]

MODES = ("graph", "piecewise", "eager")
OPERATIONS = ("attention", "router", "experts", "shared", "dense", "head")
_INSIDE_ATTENTION = frozenset({"router", "dense"})


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Launch costs of one engine on one machine: mode, seconds per kernel and per replay, kernels per operation."""

    mode: str
    kernel_launch: Fraction
    graph_replay: Fraction
    kernels: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"launch is one of {', '.join(MODES)}: got {self.mode!r}")

    def seconds(self, operation: str) -> Fraction:
        """Seconds that starting one operation takes. Raises KeyError for an unknown operation."""
        count = self.kernels[operation]
        if self.mode == "eager" or (self.mode == "piecewise" and operation == "attention"):
            return count * self.kernel_launch
        if self.mode == "graph" and operation in _INSIDE_ATTENTION:
            return Fraction(0)
        return self.graph_replay

    def formula(self, operation: str) -> str:
        """The same in words, for `explain`."""
        if self.mode == "eager" or (self.mode == "piecewise" and operation == "attention"):
            return f"{self.kernels[operation]} kernels x kernel_launch"
        if self.mode == "graph" and operation in _INSIDE_ATTENTION:
            return "inside the replay of attention"
        return "graph_replay"
