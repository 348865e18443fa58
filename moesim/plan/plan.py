"""The plan: everything an engine needs, and nothing else. Flat, frozen, picklable; integers only.

Built once from a scenario (`moesim.plan.build`), it is the only input of every engine. S = steps, L = layers,
N = experts per layer (the largest, ids of all layers are `layer * N + expert`), C = caches. Times are ticks of 1 ps.
What the fields mean for a run is settled in `moesim.engine.spec`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from moesim.core.registry import Registry
from moesim.errors import Fault, InputError

__all__ = ["LinkPlan", "Plan", "PolicyPlan", "StoragePlan"]

Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PolicyPlan:
    """A policy by name, or by class for one that lives in a user's script, with its parameters."""

    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    make: Callable[..., Any] | None = None
    """For a policy from a script: called with `params`, gives a new instance (kind is then only a label)."""

    def new(self, registry: Registry[T]) -> T:
        """A new instance; `registry` is that of the policy's seam. Raises InputError for an unknown kind."""
        make: Callable[..., T] = self.make or registry.get(self.kind)
        return make(**self.params)


@dataclass(frozen=True, kw_only=True, eq=False)
class LinkPlan:
    """The link from host memory to the device."""

    discipline: Literal["fifo", "two_level"] = "fifo"
    chunks: int = 1
    wakeup_ps: int = 0
    copy_overhead_ps: int = 0
    resume_ps: int = 0
    method: Literal["loop", "batch", "gather"] = "loop"
    pieces: int = 1
    transfer_ps: tuple[int, ...] = ()
    """[L] duration of one expert's bytes, overheads aside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoragePlan:
    """Storage with parallel lanes; per layer the reads that make up one expert."""

    lanes: int
    read_sizes: tuple[tuple[int, ...], ...]
    """[L] bytes each read moves, padding included."""
    read_ends: tuple[tuple[int, ...], ...]
    """[L] offset within the expert's bytes where each read ends; the last is the expert's size."""
    read_ps: dict[int, tuple[int, ...]]
    """Read size -> duration by busy lanes, [lanes + 1] (index 0 unused)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One run, priced and laid out."""

    seed: int
    n_layers: int
    n_experts: int
    is_moe: NDArray[np.bool_]
    """[L] whether the layer has routed experts."""
    expert_bytes: Ints
    """[L] bytes of one routed expert (0 for dense layers)."""

    # steps
    step_batch: Ints
    """[S] number of the batch of sequences that the step belongs to."""
    step_prefill: NDArray[np.bool_]
    """[S] prefill chunk (else decode)."""
    step_tokens: Ints
    """[S] tokens processed."""
    step_generated: Ints
    """[S] tokens that exist once the step has ended, first tokens included (0 for an unfinished prefill)."""
    step_first: Ints
    """[S] how many of the generated tokens are first tokens of their sequences."""
    step_arrival: Ints
    """[S] first step of the batch whose start is the arrival of the sequences that get their first token here."""

    # routing
    picks: NDArray[np.int32]
    """[P] expert ids, token-major within each (step, layer), router slots in order."""
    weights: Ints
    """[P] router weights in fixed point 2**-32, or length 0."""
    pick_ptr: Ints
    """[S * L + 1] bounds of each (step, layer) in `picks`."""
    set_expert: NDArray[np.int32]
    """[U] distinct experts of each (step, layer) by first appearance."""
    set_touch: NDArray[np.int32]
    """[U] the same experts by last appearance: the order in which a cache renews their recency."""
    set_pairs: NDArray[np.int32]
    """[U] token-expert pairs of each."""
    set_weight: Ints
    """[U] largest router weight of each (0 without weights)."""
    set_ptr: Ints
    """[S * L + 1] bounds of each (step, layer) in `set_expert`."""
    top_k: Ints
    """[L] experts per token (0 for dense layers)."""

    # durations on the stream
    attention_ps: Ints
    """[S, L]"""
    router_ps: Ints
    """[S, L]"""
    shared_ps: Ints
    """[S, L] shared experts of MoE layers."""
    dense_ps: Ints
    """[S, L] feed-forward of dense layers."""
    head_ps: Ints
    """[S]"""
    host_gap_ps: Ints
    """[S]"""
    group_class: Ints
    """[L] row of `group_ps`."""
    group_ps: tuple[Ints, ...]
    """Per class [pairs + 1, distinct + 1]: one launch of a group of experts."""

    # control path and overheads
    d2h_sync_ps: Ints
    """[L]"""
    lookup_ps: Ints
    """[L]"""
    issue_ps: Ints
    """[L]"""
    load_overhead_ps: Ints
    """[L]"""
    evict_overhead_ps: Ints
    """[L]"""
    overhead_on: Literal["host", "link", "stream"] = "stream"

    # caches
    cache_of_layer: Ints
    """[L] cache of each layer (-1 for dense layers)."""
    cache_capacity: Ints
    """[C] bytes."""
    pinned: NDArray[np.bool_]
    """[L, N] resident for good, outside the caches."""
    initial: tuple[int, ...] = ()
    """Ids resident at the start, in order of insertion."""
    evict: Literal["on_claim", "after_layer"] = "on_claim"
    reset: Literal["never", "sequence"] = "never"
    staging_slots: int = 2

    # transfers
    path: Literal["link", "storage", "storage+link"] = "link"
    link: LinkPlan | None = None
    storage: StoragePlan | None = None
    dram_capacity: int = 0
    """Bytes of the DRAM cache (path storage+link)."""

    # policies
    eviction: PolicyPlan = field(default_factory=lambda: PolicyPlan(kind="lru"))
    prefetch: PolicyPlan = field(default_factory=lambda: PolicyPlan(kind="none"))
    prefetch_source: Literal["layer_start", "lookup"] = "lookup"
    prefetch_into: Literal["cache", "staging"] = "cache"
    prefetch_slots: int = 4
    t_pred_ps: int = 0
    touch_on_predict: bool = False
    grouping: Literal["each", "hits_then_arrived", "hits_then_rest", "after_all"] = "hits_then_arrived"
    demand_order: Literal["router_weight", "expert_id", "ready_first"] = "router_weight"

    # what is recorded beside the result arrays
    timeline_steps: tuple[int, int] | None = None
    """First and last step whose events are kept, or None."""

    @property
    def n_steps(self) -> int:
        """S."""
        return len(self.step_tokens)

    def validate(self) -> Plan:
        """Check shapes and ranges that an engine relies on; returns self. Raises InputError with every fault."""
        faults: list[Fault] = []

        def need(ok: bool, name: str, allowed: str) -> None:
            if not ok:
                faults.append(Fault(field=f"plan.{name}", allowed=allowed))

        steps, layers = self.n_steps, self.n_layers
        by_step = (
            "step_batch",
            "step_prefill",
            "step_generated",
            "step_first",
            "step_arrival",
            "head_ps",
            "host_gap_ps",
        )
        for name in by_step:
            need(getattr(self, name).shape == (steps,), name, f"shape ({steps},)")
        for name in ("attention_ps", "router_ps", "shared_ps", "dense_ps"):
            need(getattr(self, name).shape == (steps, layers), name, f"shape ({steps}, {layers})")
        by_layer = (
            "is_moe", "expert_bytes", "top_k", "group_class", "d2h_sync_ps", "lookup_ps", "issue_ps",
            "load_overhead_ps", "evict_overhead_ps", "cache_of_layer",
        )  # fmt: skip
        for name in by_layer:
            need(getattr(self, name).shape == (layers,), name, f"shape ({layers},)")
        for name in ("pick_ptr", "set_ptr"):
            need(getattr(self, name).shape == (steps * layers + 1,), name, f"shape ({steps * layers + 1},)")
        need(self.pinned.shape == (layers, self.n_experts), "pinned", f"shape ({layers}, {self.n_experts})")
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name.endswith("_ps") and isinstance(value, np.ndarray):
                need(value.dtype == np.int64 and bool((value >= 0).all()), f.name, "int64, not negative")
        need(
            self.picks.size == 0 or (self.picks.min() >= 0 and self.picks.max() < self.n_experts),
            "picks",
            "ids below n_experts",
        )
        ids = layers * self.n_experts
        need(all(0 <= key < ids for key in self.initial), "initial", f"ids below {ids}")
        need(len(self.weights) in (0, len(self.picks)), "weights", "none, or one for each pick")
        need(self.staging_slots >= 1, "staging_slots", "at least 1: experts that exceed their cache need a place")
        if "link" in self.path:
            link = self.link
            need(link is not None and len(link.transfer_ps) == layers, "link.transfer_ps", f"{layers} durations")
            if link is not None:
                smallest = min(
                    (int(b) for b, moe in zip(self.expert_bytes, self.is_moe, strict=True) if moe), default=1
                )
                need(1 <= link.chunks <= smallest, "link.chunks", f"1 to {smallest}")
                moving = [t for t, moe in zip(link.transfer_ps, self.is_moe, strict=True) if moe]
                need(all(t >= 1 for t in moving), "link.transfer_ps", "at least 1 tick for each expert")
                # a chunk no longer than rounding could end with the one before it, out of order
                need(all(t >= link.chunks for t in moving), "link.chunks", "at most one chunk a tick")
        if "storage" in self.path:
            storage = self.storage
            need(storage is not None and storage.lanes >= 1, "storage", "lanes >= 1")
            if storage is not None:
                ends = [e for e, moe in zip(storage.read_ends, self.is_moe, strict=True) if moe]
                sizes = [int(b) for b, moe in zip(self.expert_bytes, self.is_moe, strict=True) if moe]
                need(
                    all(e[-1] == b for e, b in zip(ends, sizes, strict=True)), "storage.read_ends", "the expert's bytes"
                )
                need(
                    all(t >= 1 for row in storage.read_ps.values() for t in row[1:]),
                    "storage.read_ps",
                    "at least 1 tick",
                )
        if self.path == "storage+link":
            largest = int(self.expert_bytes.max(initial=0))
            need(self.dram_capacity >= largest, "dram_capacity", f"at least one expert ({largest} bytes)")
        if self.path == "storage":
            need(self.overhead_on != "link", "overhead_on", "host or stream: there is no link")
        if faults:
            raise InputError(*faults)
        return self
