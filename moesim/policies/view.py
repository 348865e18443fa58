"""What a decision may see: the present, the past, and (for parametric predictors, by name) the truth to come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

__all__ = ["View"]


class View(ABC):
    """Read-only sight of a run at the tick of a decision. Engines and the replay implement it."""

    seed: int
    n_experts: int
    """Experts of the layer with the most of them: the range of ids."""
    n_steps: int

    @property
    @abstractmethod
    def now(self) -> int:
        """Tick of the decision (0 in a replay, which has no time)."""

    @abstractmethod
    def is_resident(self, layer: int, expert: int) -> bool:
        """In the cache, complete in prefetch staging, or pinned by placement."""

    @abstractmethod
    def is_loading(self, layer: int, expert: int) -> bool:
        """On its way: queued or running."""

    @abstractmethod
    def is_decode(self, step: int) -> bool:
        """Whether a step is a decode step (else a prefill chunk)."""

    @abstractmethod
    def batch(self, step: int) -> int:
        """Number of the batch of sequences that a step belongs to."""

    @abstractmethod
    def moe_layers(self) -> Sequence[int]:
        """Layers with routed experts, ascending."""

    @abstractmethod
    def was_looked_up(self, step: int, layer: int) -> bool:
        """Whether the set of (step, layer) belongs to the past."""

    @abstractmethod
    def past_set(self, step: int, layer: int) -> Sequence[int]:
        """The distinct experts of a set that has been looked up, by first appearance."""

    @abstractmethod
    def past_last_token(self, step: int, layer: int) -> Sequence[int]:
        """The experts of the last token of a set that has been looked up, in router slot order."""

    @abstractmethod
    def true_set(self, step: int, layer: int) -> Sequence[tuple[int, int]]:
        """(expert, largest router weight) of a set to come, by first appearance: only for predictors whose accuracy
        is a parameter, because what they would see (hidden states) is not simulated."""

    @abstractmethod
    def experts_of(self, layer: int) -> int:
        """Number of routed experts of a layer."""

    @abstractmethod
    def link_backlog_ps(self) -> int:
        """Ticks of work queued on the link, the transfer in service included (0 without a link or in a replay)."""
