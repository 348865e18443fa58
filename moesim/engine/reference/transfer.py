"""One load on its way, and the set that waits for it."""

from __future__ import annotations

__all__ = ["IssueGroup", "LayerSet", "Transfer"]


class IssueGroup:
    """Loads issued together (one walk, or one prediction): `batch` and `gather` pay the copy overhead once."""

    __slots__ = ("paid",)

    def __init__(self) -> None:
        self.paid = False


class Transfer:
    """One expert on its way to the device.

    What most transfers never change is kept by the class, so that making one (the engine does it for every load) sets
    only what differs. The defaults are those of a demand load.
    """

    number = -1
    prefetch = False
    target = -1
    """Position (step * L + layer) that a prefetch is meant for."""
    used = True
    """Demanded, or a prefetch that was looked up."""
    staged = False
    """Goes to a prefetch staging slot instead of the cache."""
    claimed = True
    entered = True
    """The eviction policy has been told (at the claim)."""
    waited = False
    """Has waited for bytes of the cache: waits are counted once for each load."""
    overhead = 0
    """Ticks the link is held after the last chunk."""
    admitted = 0
    """Tick from which only storage and link were in the way."""
    in_dram = 0
    """Tick at which the last chunk was in DRAM."""
    start = end = 0
    # the queued link's book-keeping
    high = True
    place = 0
    queued = in_service = at_boundary = cancelled = joined = held = False
    moved = 0
    ready = 0
    """Chunks that are in DRAM."""

    def __init__(self, key: int, layer: int, expert: int, size: int, group: IssueGroup, step: int) -> None:
        self.key = key
        self.layer = layer
        self.expert = expert
        self.size = size
        self.group = group
        self.step = step


class LayerSet:
    """The set of the layer in progress, from its lookup to its end."""

    __slots__ = (
        "arrivals", "base", "keys", "last_arrival", "layer", "n_ready_hits", "pairs", "pending", "ready", "step",
        "waiting",
    )  # fmt: skip

    def __init__(self, step: int, layer: int, base: int, keys: list[int], pairs: dict[int, int] | None) -> None:
        self.step = step
        self.layer = layer
        self.base = base
        self.keys = keys
        self.pairs = pairs
        """Token-expert pairs of each key; None where each has one."""
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
