"""First in, first out."""

from __future__ import annotations

from moesim.policies.eviction.base import EVICTIONS
from moesim.policies.eviction.ordered import OrderedEviction

__all__ = ["FIFO"]


@EVICTIONS.register("fifo")
class FIFO(OrderedEviction):
    """The expert that has been a member longest leaves first: order of claims (demand) and arrivals (prefetch).

    Changed events against `lru`: a hit does not protect; victims differ as soon as one expert is used twice.
    """

    kind = "fifo"

    def insert(self, key: int, looked_up: bool) -> None:
        self.order[key] = None
