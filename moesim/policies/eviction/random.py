"""Random replacement, reproducible in any language."""

from __future__ import annotations

from moesim.core.streams import draw, stream_id
from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Eviction

__all__ = ["Random"]

_STREAM = stream_id("eviction")


@EVICTIONS.register("random")
class Random(Eviction):
    """Ids are drawn among all that the cache could hold until one is evictable: each member is as likely.

    The a-th draw of a claim or trim is draw(seed, "eviction", s, l, e, a): (s, l) the last lookup, e the expert that
    claims (0 under trim). Changed events against `lru`: victims do not depend on use.
    """

    kind = "random"

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        if facts.layer is None:
            self._first, self._ids = 0, facts.n_layers * facts.n_experts
        else:
            self._first, self._ids = facts.layer * facts.n_experts, facts.n_experts
        self._expert = self._attempt = 0

    def claim(self, expert: int) -> None:
        self._expert, self._attempt = expert, 0

    def victim(self, evictable: bytearray) -> int:
        seed, clock = self.facts.seed, self.facts.clock
        if evictable.find(1, self._first, self._first + self._ids) < 0:
            raise LookupError("no evictable expert")
        while True:
            number = draw(seed, _STREAM, clock.step, clock.layer, self._expert, self._attempt)
            self._attempt += 1
            key = self._first + number % self._ids
            if evictable[key]:
                return key
