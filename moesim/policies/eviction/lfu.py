"""Least frequently used, with counts that live in the cache (`lfu`) or as long as the run (`lfu-lifetime`)."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict

from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Eviction

__all__ = ["LFU", "LifetimeLFU"]


@EVICTIONS.register("lfu")
class LFU(Eviction):
    """The expert with the fewest lookups since it entered the cache leaves first, ties least recent.

    The lookup that missed counts as 1, a prefetched or initial expert enters with 0. One bucket per count, each in
    order of recency, makes a lookup O(1): it moves its expert to the end of the next bucket.
    Changed events against `lru`: experts that were looked up often outlive recent ones.
    """

    kind = "lfu"
    lifetime = False
    """True: counts survive eviction."""

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        self._count: dict[int, int] = {}
        self._members: set[int] = set()
        self._buckets: dict[int, OrderedDict[int, None]] = {}
        self._levels: list[int] = []
        """Counts that have a bucket, ascending; empty buckets go when a search for a victim meets them."""

    def lookup(self, key: int) -> None:
        old = self._count.get(key, 0)
        # an expert that missed waits in its bucket for its claim; looked up again without one, it begins anew
        self._place(key, old + 1 if self.lifetime or key in self._members else 1)

    def insert(self, key: int, looked_up: bool) -> None:
        count = self._count.get(key, 0)
        if not looked_up:
            self._place(key, count if self.lifetime else 0)
        elif key not in self._buckets.get(count, ()):
            self.lookup(key)
        self._members.add(key)

    def touch(self, key: int) -> None:
        if key in self._members:
            self._buckets[self._count[key]].move_to_end(key)

    def remove(self, key: int) -> None:
        self._members.discard(key)
        count = self._count.get(key)
        if count is not None:
            self._buckets[count].pop(key, None)
            if not self.lifetime:
                del self._count[key]

    def victim(self, evictable: bytearray) -> int:
        at = 0
        while at < len(self._levels):
            level = self._levels[at]
            bucket = self._buckets[level]
            if not bucket:
                del self._levels[at], self._buckets[level]
                continue
            for key in bucket:
                if evictable[key]:
                    return key
            at += 1
        raise LookupError("no evictable expert")

    def _place(self, key: int, count: int) -> None:
        """To the recent end of a bucket, out of the one it is in."""
        old = self._count.get(key)
        if old is not None and old in self._buckets:
            self._buckets[old].pop(key, None)
        self._count[key] = count
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._buckets[count] = OrderedDict()
            insort(self._levels, count)
        bucket[key] = None


@EVICTIONS.register("lfu-lifetime")
class LifetimeLFU(LFU):
    """As `lfu`, but counting all lookups since the start (or reset): an expert that returns brings its count along.

    Changed events against `lfu`: what was popular once stays longer, newcomers leave sooner.
    """

    kind = "lfu-lifetime"
    lifetime = True
