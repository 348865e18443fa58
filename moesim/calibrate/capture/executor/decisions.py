"""What an offloaded decode loop does, decided before it runs: the project's caches and policies driven by a trace.

The decisions follow rules 3 to 8 of `moesim.engine.spec` for one decode batch, one cache of equal slots for each layer,
`evict = on_claim`, a `fifo` link, prefetch source `lookup` into the cache, loads in order of first appearance (a trace
without router weights) and `grouping = each`. Nothing here knows the time. What time decides in an engine happens at
fixed points of the program instead:

- the demand walk and then the prefetches are issued at the lookup, in that order, on one FIFO stream, never cancelled;
- an expert prefetched at one lookup has *arrived* at the next one;
- compute runs the set's hits by ascending id, then its loads in the order of their issue, one expert at a time; each
  expert that is done gives room to the load that waits first.

An engine with the above settings makes the same decisions, to the slot,

- for **all** durations, without prefetch, sets larger than their cache included: nothing but the set itself claims in
  its layer's cache, hits run before loads, and a FIFO link delivers loads in the order of their issue;
- for **all** durations, with a prefetcher that guesses only experts of the target set (`next_gate`, precision 1, one
  layer ahead), as long as every set fits into its cache (then with any grouping): the target's layer ends only when all
  it looked up has arrived, so that nothing prefetched is in flight when its cache claims again, and the lookup gives
  the set its place in the order whether it was late or hit (those two are timing: compare hits + late). Eviction `fifo`
  is the exception: it goes by arrivals;
- with **any** prefetcher if each prefetched copy ends before the next lookup (a fast link). Otherwise a guess that was
  wrong, and still moves when its target is looked up, is younger than the set instead of older, and cannot leave.

With caches that hold their sets, `previous` moves nothing at all here: the set of the step before is still resident,
for nothing has claimed in that layer since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from moesim.policies.cache import LOADING, RESIDENT, ExpertCache, Residency
from moesim.policies.eviction import EVICTIONS, CacheFacts, Clock
from moesim.policies.next_use import next_use_table
from moesim.policies.prefetch import PREFETCHES
from moesim.policies.view import View
from moesim.routing.sets import distinct_sets
from moesim.routing.trace import RoutingTrace

__all__ = ["Decider", "LayerProgram", "Load", "Run", "slots_of_share", "step_picks"]


class Load(NamedTuple):
    """Copy an expert into a device slot."""

    layer: int
    expert: int
    slot: int


class Run(NamedTuple):
    """Compute an expert of the current layer from its slot."""

    expert: int
    slot: int
    place: int
    """Position in the set, by first appearance."""
    brought: int
    """0: resident; 1: prefetched at the lookup before; 2: loaded for this set."""


@dataclass(frozen=True, kw_only=True)
class LayerProgram:
    """Everything that happens at one (step, layer), in the order in which it is issued."""

    step: int
    layer: int
    experts: tuple[int, ...]
    """The set, by first appearance."""
    hits: tuple[int, ...]
    """Of the set, there at the lookup (prefetched ones included), by first appearance."""
    used: tuple[int, ...]
    """Of the hits, those that a prefetch brought and that are looked up for the first time."""
    misses: tuple[int, ...]
    walk: tuple[Load, ...]
    """Demand loads issued at the lookup."""
    prefetches: tuple[Load, ...]
    """Issued after the walk."""
    rest: tuple[Run | Load, ...]
    """Compute, and between it the loads that had to wait for room."""
    evictions: tuple[int, ...]
    """Ids (layer * N + expert) that left, in order: victims of the walk, the prefetches, the waiting loads."""
    dropped: int
    """Predictions that found no room."""

    @property
    def loads(self) -> tuple[Load, ...]:
        """All demand loads, in the order of their issue."""
        return (*self.walk, *(op for op in self.rest if isinstance(op, Load)))


def slots_of_share(n_experts: int, share: float) -> int:
    """Slots of each layer for a cache share in [0, 1]: round(share * N)."""
    if not 0 <= share <= 1:
        raise ValueError(f"a cache share lies in [0, 1]: got {share}")
    return round(share * n_experts)


def step_picks(trace: RoutingTrace) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Picks [S, L, B * k] of sequences that decode together: step s is token s of each of the B sequences.

    Raises ValueError if the sequences are not equally long, hold prompts, or if tokens are not routed everywhere.
    """
    lengths = set(np.diff(trace.sequence_ptr).tolist())
    if len(lengths) != 1 or trace.prompt_tokens.any() or (trace.experts < 0).any():
        raise ValueError("needs sequences of one length, without prompts, every token routed at every layer")
    batch, layers, k = trace.n_sequences, trace.n_layers, trace.top_k
    by_step = trace.experts.reshape(batch, -1, layers, k).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(by_step.reshape(-1, layers, batch * k)).astype(np.int64)


class _Now(View):
    """What prefetch policies see of a `Decider`."""

    def __init__(self, decider: Decider, seed: int) -> None:
        self._d = decider
        self.seed = seed
        self.n_experts = decider.n_experts
        self.n_steps = decider.n_steps

    @property
    def now(self) -> int:
        return 0

    def is_resident(self, layer: int, expert: int) -> bool:
        key = layer * self.n_experts + expert
        return self._d.state[key] == RESIDENT or key in self._d.staged

    def is_loading(self, layer: int, expert: int) -> bool:
        return self._d.state[layer * self.n_experts + expert] == LOADING

    def is_decode(self, step: int) -> bool:
        return True

    def batch(self, step: int) -> int:
        return 0

    def moe_layers(self) -> Sequence[int]:
        return range(self._d.n_layers)

    def was_looked_up(self, step: int, layer: int) -> bool:
        return step * self._d.n_layers + layer <= self._d.position

    def past_set(self, step: int, layer: int) -> Sequence[int]:
        if not self.was_looked_up(step, layer):
            raise LookupError(f"step {step}, layer {layer} has not been looked up yet")
        return self._d.set_of(step, layer)

    def past_last_token(self, step: int, layer: int) -> Sequence[int]:
        raise LookupError("there is no prefill here")

    def true_set(self, step: int, layer: int) -> Sequence[tuple[int, int]]:
        return [(expert, 0) for expert in self._d.set_of(step, layer)]

    def experts_of(self, layer: int) -> int:
        return self.n_experts

    def link_backlog_ps(self) -> int:
        return 0


class Decider:
    """The caches of a decode loop and their physical slots.

    Slots 0 .. L * slots - 1 belong to the layers (layer l: from l * slots); with `slots` = 0 the `staging_slots` slots
    that follow serve every layer in turn, and nothing is ever resident (the engine's staging slots: rule 4).
    """

    def __init__(
        self,
        trace: RoutingTrace,
        *,
        slots: int,
        expert_bytes: int,
        eviction: str = "lru",
        prefetch: str = "none",
        prefetch_params: Mapping[str, Any] | None = None,
        staging_slots: int = 2,
        seed: int = 0,
    ) -> None:
        if trace.weights is not None:
            raise ValueError("loads go in order of first appearance: a trace with router weights would ask for another")
        self.n_layers, self.n_experts = trace.n_layers, trace.n_experts
        self.picks = step_picks(trace)
        self.n_steps = len(self.picks)
        self.slots, self.expert_bytes = slots, expert_bytes
        rows, width = self.n_steps * self.n_layers, self.picks.shape[2]
        sets = distinct_sets(self.picks.ravel(), None, np.arange(rows + 1, dtype=np.int64) * width)
        self._ptr: list[int] = sets.set_ptr.tolist()
        self._experts: list[int] = sets.set_expert.tolist()
        self._touch: list[int] = sets.set_touch.tolist()
        residency = Residency(self.n_layers, self.n_experts)
        self._pinned = residency.pinned
        self.state = residency.state
        self._clock = Clock()
        next_use = next_use_table(sets.set_ptr, sets.set_expert, self.n_layers, self.n_experts)
        self.caches = [
            ExpertCache(
                slots * expert_bytes,
                EVICTIONS.get(eviction)(),
                CacheFacts(
                    seed=seed,
                    n_layers=self.n_layers,
                    n_experts=self.n_experts,
                    layer=layer,
                    expert_bytes=[expert_bytes] * self.n_layers,
                    clock=self._clock,
                    next_use=next_use,
                ),
                residency,
                staging_slots,
            )
            for layer in range(self.n_layers)
        ]
        self.n_slots = self.n_layers * slots if slots else staging_slots
        """Physical slots in all."""
        self._free = [deque(range(layer * slots, (layer + 1) * slots)) for layer in range(self.n_layers)]
        self._staging = deque(range(staging_slots))
        self.slot_of: dict[int, int] = {}
        self.staged: set[int] = set()
        """In a staging slot for its set."""
        self.position = -1
        self._arriving: list[int] = []
        self._unused: set[int] = set()
        self._policy = PREFETCHES.get(prefetch)(**(prefetch_params or {}))
        self._view = _Now(self, seed)

    def set_of(self, step: int, layer: int) -> list[int]:
        """The distinct experts of (step, layer), by first appearance."""
        at = step * self.n_layers + layer
        return self._experts[self._ptr[at] : self._ptr[at + 1]]

    def largest_set(self) -> int:
        """Experts of the largest set of the trace."""
        return max(b - a for a, b in zip(self._ptr, self._ptr[1:], strict=False))

    def residents(self) -> set[int]:
        """Ids that take room in the caches now, those on their way included."""
        return set(self.slot_of) - self.staged

    def programs(self) -> Iterator[LayerProgram]:
        """Decide the whole trace, layer by layer. May be iterated once."""
        for step in range(self.n_steps):
            for layer in range(self.n_layers):
                yield self._layer(step, layer)

    # ---- one layer -------------------------------------------------------------------------------------------------

    def _layer(self, step: int, layer: int) -> LayerProgram:
        cache, base = self.caches[layer], layer * self.n_experts
        self._arrive()
        self._clock.step, self._clock.layer = step, layer
        at = self.position = step * self.n_layers + layer
        keys = [base + e for e in self._experts[self._ptr[at] : self._ptr[at + 1]]]
        cache.policy.lookups([base + e for e in self._touch[self._ptr[at] : self._ptr[at + 1]]])
        hits = [key for key in keys if self.state[key] == RESIDENT]
        misses = [key for key in keys if self.state[key] != RESIDENT]
        used = [key for key in hits if key in self._unused]
        self._unused.difference_update(used)
        for key in hits:
            cache.pin(key)
        evicted: list[int] = []
        waiting = deque(misses)
        walk = self._claims(waiting, layer, evicted)
        prefetches, dropped = self._prefetch(step, layer, set(waiting), evicted)
        place = {key: i for i, key in enumerate(keys)}
        rest: list[Run | Load] = []
        running = deque([*sorted(hits), *(base + load.expert for load in walk)])
        loaded = set(misses)
        while running:
            key = running.popleft()
            brought = 2 if key in loaded else int(key in used)
            rest.append(Run(key - base, self.slot_of[key], place[key], brought))
            self._done(key, layer)
            more = self._claims(waiting, layer, evicted)
            rest += more
            running += [base + load.expert for load in more]
        return LayerProgram(
            step=step,
            layer=layer,
            experts=tuple(key - base for key in keys),
            hits=tuple(key - base for key in hits),
            used=tuple(key - base for key in used),
            misses=tuple(key - base for key in misses),
            walk=tuple(walk),
            prefetches=tuple(prefetches),
            rest=tuple(rest),
            evictions=tuple(evicted),
            dropped=dropped,
        )

    def _arrive(self) -> None:
        """What was prefetched at the last lookup is there at this one."""
        for key in self._arriving:
            cache = self.caches[key // self.n_experts]
            cache.enter(key, False)
            cache.arrive(key)
            self._unused.add(key)
        self._arriving.clear()

    def _claims(self, waiting: deque[int], layer: int, evicted: list[int]) -> list[Load]:
        """Loads that find room, strictly in order. They are pinned, so that it does not matter when they arrive."""
        cache, loads = self.caches[layer], []
        while waiting:
            key = waiting[0]
            if not cache.admits(layer):
                if not cache.free_slots:
                    break
                cache.free_slots -= 1
                self.staged.add(key)
                self.slot_of[key] = self._staging.popleft()
            else:
                victims = cache.claim(key)
                if victims is None:
                    break
                self._place(key, victims, evicted)
                cache.enter(key, True)
                self._pinned[key] = 1
                cache.arrive(key)
            waiting.popleft()
            loads.append(Load(layer, key - layer * self.n_experts, self.slot_of[key]))
        return loads

    def _prefetch(self, step: int, layer: int, waiting: set[int], evicted: list[int]) -> tuple[list[Load], int]:
        loads: list[Load] = []
        dropped = 0
        for target_step, target, expert in self._policy.predict(self._view, step, layer):
            key = target * self.n_experts + expert
            stale = target_step * self.n_layers + target <= self.position
            if stale or self.state[key] != 0 or key in self.staged or key in waiting:
                continue
            cache = self.caches[target]
            blocked = bool(waiting) and target == layer
            victims = None if blocked or not cache.admits(target) else cache.claim(key)
            if victims is None:
                dropped += 1
                continue
            self._place(key, victims, evicted)
            self._arriving.append(key)
            loads.append(Load(target, expert, self.slot_of[key]))
        return loads, dropped

    def _place(self, key: int, victims: list[int], evicted: list[int]) -> None:
        """Bind an id to a physical slot: its victim's (experts are equally large, so there is one at most) or a free
        one."""
        evicted += victims
        for victim in victims:
            self._free[victim // self.n_experts].append(self.slot_of.pop(victim))
            self._unused.discard(victim)
        self.slot_of[key] = self._free[key // self.n_experts].popleft()

    def _done(self, key: int, layer: int) -> None:
        cache = self.caches[layer]
        if key in self.staged:
            self.staged.discard(key)
            cache.free_slots += 1
            self._staging.append(self.slot_of.pop(key))
        else:
            cache.unpin(key)
