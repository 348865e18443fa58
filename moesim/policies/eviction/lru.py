"""Least recently used."""

from __future__ import annotations

from collections.abc import Sequence

from moesim.policies.eviction.base import EVICTIONS, CacheFacts
from moesim.policies.eviction.ordered import OrderedEviction

__all__ = ["LRU"]


@EVICTIONS.register("lru")
class LRU(OrderedEviction):
    """The expert whose last lookup (or arrival, for a prefetched one) is longest ago leaves first.

    The order also holds experts that missed and are not members yet, so that their place is that of their lookup.
    """

    kind = "lru"

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        # bound once: it runs for every expert of every set
        self._move = self.order.move_to_end

    def lookup(self, key: int) -> None:
        self.order[key] = None
        self._move(key)

    def lookups(self, keys: Sequence[int]) -> None:
        order, move = self.order, self._move
        for key in keys:
            order[key] = None
            move(key)

    def insert(self, key: int, looked_up: bool) -> None:
        if not looked_up or key not in self.order:
            self.lookup(key)

    def touch(self, key: int) -> None:
        self.lookup(key)
