"""One load on its way, and the set that waits for it."""

from __future__ import annotations

__all__ = ["IssueGroup", "LayerSet", "Transfer"]


class IssueGroup:
    """Loads issued together (one walk, or one prediction): `batch` and `gather` pay the copy overhead once."""

    __slots__ = ("paid",)

    def __init__(self) -> None:
        self.paid = False


class Transfer:
    """One expert on its way to the device."""

    __slots__ = (
        "admitted", "at_boundary", "cancelled", "claimed", "end", "entered", "expert", "group", "held", "high",
        "in_dram", "in_service", "joined", "key", "layer", "moved", "number", "overhead", "place", "prefetch",
        "queued", "ready", "size", "staged", "start", "step", "target", "used", "waited",
    )  # fmt: skip

    def __init__(self, key: int, layer: int, expert: int, size: int, group: IssueGroup, step: int) -> None:
        self.key, self.layer, self.expert, self.size, self.group, self.step = key, layer, expert, size, group, step
        self.number = -1
        self.prefetch = False
        self.target = -1
        """Position (step * L + layer) that a prefetch is meant for."""
        self.used = True
        """Demanded, or a prefetch that was looked up."""
        self.staged = False
        """Goes to a prefetch staging slot instead of the cache."""
        self.claimed = True
        self.entered = True
        """The eviction policy has been told (at the claim)."""
        self.waited = False
        """Has waited for bytes of the cache: waits are counted once for each load."""
        self.overhead = 0
        """Ticks the link is held after the last chunk."""
        self.admitted = 0
        """Tick from which only storage and link were in the way."""
        self.in_dram = 0
        """Tick at which the last chunk was in DRAM."""
        self.start = self.end = 0
        # the queued link's book-keeping
        self.high = True
        self.place = 0
        self.queued = self.in_service = self.at_boundary = self.cancelled = self.joined = self.held = False
        self.moved = 0
        self.ready = 0
        """Chunks that are in DRAM."""


class LayerSet:
    """The set of the layer in progress, from its lookup to its end."""

    __slots__ = (
        "arrivals", "base", "keys", "last_arrival", "layer", "n_ready_hits", "pairs", "pending", "ready", "step",
        "waiting",
    )  # fmt: skip

    def __init__(self, step: int, layer: int, base: int, keys: list[int], pairs: list[int]) -> None:
        self.step, self.layer, self.base, self.keys = step, layer, base, keys
        self.pairs = dict(zip(keys, pairs, strict=True))
        self.ready: list[int] = []
        """Not computed, weights in place: hits in set order, then arrivals in order."""
        self.n_ready_hits = 0
        self.pending: set[int] = set()
        """Not there yet."""
        self.waiting = 0
        """How many of the pending wait for bytes of the cache."""
        self.arrivals: list[Transfer] = []
        """Members that arrived at tick `last_arrival`."""
        self.last_arrival = -1
