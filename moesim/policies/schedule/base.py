"""The schedule seam: what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moesim.core.registry import Registry

__all__ = ["SCHEDULES", "Schedule"]


class Schedule:
    """Base class. For each MoE layer: `demands` once, at the lookup; `group` whenever the stream is free.

    Defaults: loads in the order of the set, and every expert that is there is computed at once.
    """

    kind = ""

    def demands(self, keys: Sequence[int], weight: Mapping[int, int], moved: Mapping[int, int]) -> list[int]:
        """The order in which the host walks a set's loads.

        keys    ids to load, by first appearance in the set
        weight  id -> largest router weight any token gave it
        moved   id -> chunks that a promoted prefetch has moved already (absent: 0)
        """
        return list(keys)

    def group(self, ready: Sequence[int], hits: int, in_flight: int, waiting: int, first: bool) -> list[int]:
        """The members of the set that are computed next, in one launch; empty: the stream waits.

        ready      ids whose weights are there and that are not computed: hits, then arrivals in order
        hits       how many of them, at the front, were hits
        in_flight  members of the set on their way
        waiting    members whose loads wait for bytes
        first      whether this is the layer's first group
        """
        return list(ready)


SCHEDULES: Registry[Schedule] = Registry("schedule")
