"""Least recently used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Eviction

__all__ = ["LRU"]


@EVICTIONS.register("lru")
class LRU(Eviction):
    """The expert whose last lookup (or arrival, for a prefetched one) is longest ago leaves first.

    The order also holds experts that missed and are not members yet, so that their place is that of their lookup.
    """

    kind = "lru"

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        self._order: OrderedDict[int, None] = OrderedDict()
        # bound once: it runs for every expert of every set
        self._move = self._order.move_to_end

    def lookup(self, key: int) -> None:
        self._order[key] = None
        self._move(key)

    def lookups(self, keys: Sequence[int]) -> None:
        order, move = self._order, self._move
        for key in keys:
            order[key] = None
            move(key)

    def insert(self, key: int, looked_up: bool) -> None:
        if not looked_up or key not in self._order:
            self.lookup(key)

    def touch(self, key: int) -> None:
        self.lookup(key)

    def remove(self, key: int) -> None:
        self._order.pop(key, None)

    def victim(self, evictable: bytearray) -> int:
        for key in self._order:
            if evictable[key]:
                return key
        raise LookupError("no evictable expert")
