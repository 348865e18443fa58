"""The eviction seam: who leaves when bytes are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moesim.core.registry import Registry

__all__ = ["EVICTIONS", "CacheFacts", "Clock", "Eviction"]


@dataclass
class Clock:
    """Position of the last lookup: step and layer. Policies count lookups, never time."""

    step: int = 0
    layer: int = 0


@dataclass(frozen=True, kw_only=True)
class CacheFacts:
    """What an eviction policy may know about its cache."""

    seed: int
    n_layers: int
    n_experts: int
    layer: int | None
    """The layer that the cache belongs to, None if it is global."""
    expert_bytes: Sequence[int]
    """[L] bytes of one expert."""
    clock: Clock = field(default_factory=Clock)
    next_use: Callable[[int, int], int] | None = None
    """(id, position) -> position of the next lookup of id after position, or a number beyond all positions."""


class Eviction:
    """Base class. One instance per cache; ids are layer * n_experts + expert.

    Lifecycle: `start` (again at every reset); then for each set looked up, `lookup` for each of its experts, hit or
    not, in the order of their last appearance; `insert` when an expert becomes a member of the cache (demand: at its
    claim; prefetch: at its arrival; initial content: at the start), `remove` when it leaves; `claim` when somebody
    needs bytes that are not free, then `victim` until they are. Hooks do nothing by default.
    """

    kind = ""
    admits = True
    """False: nothing ever enters after the start; misses are served through the cache's staging slots."""

    def start(self, facts: CacheFacts) -> None:
        """A new, empty cache: forget everything."""
        self.facts = facts

    def lookup(self, key: int) -> None:
        """`key` was looked up (hit, late or miss). A key that misses will be inserted later, in this recency place."""

    def lookups(self, keys: Sequence[int]) -> None:
        """A whole set was looked up, in this order. Overridden only where that is faster than one by one."""
        for key in keys:
            self.lookup(key)

    def insert(self, key: int, looked_up: bool) -> None:
        """`key` is a member now; `looked_up` tells whether a lookup came before (else it was prefetched or initial)."""

    def remove(self, key: int) -> None:
        """`key` has left."""

    def touch(self, key: int) -> None:
        """Renew the recency of a member without a lookup (`touch_on_predict`)."""

    def claim(self, expert: int) -> None:
        """A claim or trim begins that needs victims; `expert` is the one that claims (0 under trim)."""

    def victim(self, evictable: bytearray) -> int:
        """The key that leaves next, among those with evictable[key] == 1 (at least one member is)."""
        raise NotImplementedError(f"{type(self).__qualname__} must define `victim`")


EVICTIONS: Registry[Eviction] = Registry("eviction")
