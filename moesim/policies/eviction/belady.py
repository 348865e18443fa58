"""The offline optimum: evict what is needed last (Belady, "A study of replacement algorithms", IBM Syst. J. 1966)."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Eviction

__all__ = ["Belady", "belady_label"]


@EVICTIONS.register("belady")
class Belady(Eviction):
    """The expert whose next lookup is farthest leaves first; ties larger bytes, then larger id.

    Distance is the position (step, layer) in the trace, never again the farthest. It reads the future: a bound to
    hold other policies against, not a policy. `belady_label` says whether it is the optimum.
    The heap is lazy: each lookup adds an entry, and entries that no longer hold are skipped when they come up.
    Changed events against `lru`: fewer misses wherever recency misleads.
    """

    kind = "belady"

    def __init__(self) -> None:
        self._begun = False

    def start(self, facts: CacheFacts) -> None:
        super().start(facts)
        if facts.next_use is None:
            raise ValueError("belady needs the next uses of the trace (CacheFacts.next_use)")
        self._next_use = facts.next_use
        # rank of an id by (bytes, id): layers sorted by size, then the experts of each
        self._layer_of_rank = sorted(range(facts.n_layers), key=lambda layer: facts.expert_bytes[layer])
        self._rank_of_layer = [0] * facts.n_layers
        for rank, layer in enumerate(self._layer_of_rank):
            self._rank_of_layer[layer] = rank
        self._ids = facts.n_layers * facts.n_experts
        self._entry: dict[int, int] = {}
        """Current entry of each id: minus (next use, rank) as one number, so that the heap gives the largest."""
        self._heap: list[int] = []

    def lookup(self, key: int) -> None:
        self._begun = True
        self._note(key)

    def insert(self, key: int, looked_up: bool) -> None:
        if key not in self._entry:
            self._note(key)

    def remove(self, key: int) -> None:
        self._entry.pop(key, None)

    def victim(self, evictable: bytearray) -> int:
        heap, n = self._heap, self.facts.n_experts
        aside: list[int] = []
        found = -1
        while heap:
            entry = heap[0]
            rank = -entry % self._ids
            key = self._layer_of_rank[rank // n] * n + rank % n
            if self._entry.get(key) != entry:
                heappop(heap)
            elif evictable[key]:
                found = key
                break
            else:
                aside.append(heappop(heap))
        for entry in aside:
            heappush(heap, entry)
        if found < 0:
            raise LookupError("no evictable expert")
        return found

    def _note(self, key: int) -> None:
        """(Re)place an id by its next use after the last lookup."""
        clock, n = self.facts.clock, self.facts.n_experts
        # before the first lookup of all, the first position itself is still to come
        now = clock.step * self.facts.n_layers + clock.layer if self._begun or clock.step or clock.layer else -1
        layer, expert = divmod(key, n)
        entry = -(self._next_use(key, now) * self._ids + self._rank_of_layer[layer] * n + expert)
        if self._entry.get(key) == entry:
            return
        self._entry[key] = entry
        heappush(self._heap, entry)
        # passed entries sink to where no pop meets them: sweep them out before they outnumber the living
        if len(self._heap) > 2 * len(self._entry) + 64:
            self._heap = list(self._entry.values())
            heapify(self._heap)


def belady_label(expert_bytes: Sequence[int], cache_of_layer: Sequence[int], evict: str, every_set_fits: bool) -> str:
    """`belady` where the greedy choice is the optimum, else `belady-greedy`, which promises nothing.

    Optimal: experts of equal bytes within each cache, every miss inserted, room made on claim, every set fitting.
    `expert_bytes` and `cache_of_layer` are [L], bytes and the cache of each layer (-1: none).
    """
    sizes: dict[int, set[int]] = {}
    for size, cache in zip(expert_bytes, cache_of_layer, strict=True):
        if cache >= 0:
            sizes.setdefault(cache, set()).add(size)
    equal = all(len(group) == 1 for group in sizes.values())
    return "belady" if equal and evict == "on_claim" and every_set_fits else "belady-greedy"
