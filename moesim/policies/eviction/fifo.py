"""First in, first out."""

from __future__ import annotations

from collections import OrderedDict

from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Eviction

__all__ = ["FIFO"]


@EVICTIONS.register("fifo")
class FIFO(Eviction):
    """The expert that has been a member longest leaves first: order of claims (demand) and arrivals (prefetch).

    Changed events against `lru`: a hit does not protect; victims differ as soon as one expert is used twice.
    """

    kind = "fifo"

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        # an OrderedDict and not a dict: a dict slows down when its head is deleted again and again
        self._order: OrderedDict[int, None] = OrderedDict()

    def insert(self, key: int, looked_up: bool) -> None:
        self._order[key] = None

    def remove(self, key: int) -> None:
        self._order.pop(key, None)

    def victim(self, evictable: bytearray) -> int:
        for key in self._order:
            if evictable[key]:
                return key
        raise LookupError("no evictable expert")
