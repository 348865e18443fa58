"""Random replacement, reproducible in any language."""

from __future__ import annotations

from moesim.core.streams import attempts, stream_id
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
        self.claim(0)

    def claim(self, expert: int) -> None:
        clock = self.facts.clock
        self._draws = attempts(self.facts.seed, _STREAM, clock.step, clock.layer, expert)

    def victim(self, evictable: bytearray) -> int:
        first, ids = self._first, self._ids
        if evictable.find(1, first, first + ids) < 0:
            raise LookupError("no evictable expert")
        for number in self._draws:
            if evictable[key := first + number % ids]:
                return key
        raise AssertionError("draws do not end")
