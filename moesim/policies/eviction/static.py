"""A cache that never changes."""

from __future__ import annotations

from moesim.policies.eviction.base import EVICTIONS, Eviction

__all__ = ["Static"]


@EVICTIONS.register("static")
class Static(Eviction):
    """Nobody leaves and nobody enters: only the initial content is ever resident.

    Changed events against `lru`: every miss goes through a staging slot; hits depend on the initial content alone.
    """

    kind = "static"
    admits = False

    def victim(self, evictable: bytearray) -> int:
        raise LookupError("a static cache has no victims")
