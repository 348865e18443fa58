"""What policies share that keep their experts in one order and evict from its head."""

from __future__ import annotations

from collections import OrderedDict

from moesim.policies.eviction.base import CacheFacts, Eviction

__all__ = ["OrderedEviction"]


class OrderedEviction(Eviction):
    """Base class: the first evictable expert of `order` leaves. A policy says who goes where in it, and when."""

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        # an OrderedDict and not a dict: a dict slows down when its head is deleted again and again
        self.order: OrderedDict[int, None] = OrderedDict()

    def remove(self, key: int) -> None:
        self.order.pop(key, None)

    def victim(self, evictable: bytearray) -> int:
        for key in self.order:
            if evictable[key]:
                return key
        raise LookupError("no evictable expert")
