"""Who gets the accelerator's memory: reserve, resident weights, KV cache, pinned experts, and what is left for the
expert cache.

left = capacity - reserve - resident weights - batch * KV(kv_tokens) - pinned experts, all in bytes. KV counts
min(kv_tokens, window) tokens in a layer with a sliding window. On a machine with unified memory, capacity is the host
memory, which the accelerator shares. The cache is cut into equal shares floor(bytes / layers) for scope `layer`, where
layers that are wholly pinned get none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from moesim.core.quantity import show
from moesim.errors import Fault
from moesim.scenario.sections import Sections

if TYPE_CHECKING:
    from moesim.hardware.machine import Machine
    from moesim.model.spec import ModelSpec

__all__ = ["MemoryDivision", "divide"]


@dataclass(frozen=True, kw_only=True)
class MemoryDivision:
    """Bytes of the accelerator's memory by use (and of the host's, where experts wait).

    >>> d = MemoryDivision(
    ...     capacity=100, reserve=10, resident=30, kv=20, pinned=0, cache=40, per_layer=(20, 20), routed=80,
    ...     host_capacity=1000, host_experts=80, dram_cache=0, unified=False,
    ... )
    >>> d.left, d.ok, d.resident_share
    (0, True, Fraction(1, 2))
    """

    capacity: int
    reserve: int
    resident: int
    kv: int
    pinned: int
    cache: int
    per_layer: tuple[int, ...]
    """Cache bytes of each MoE layer in order; one number for scope global."""
    routed: int
    """Bytes of all routed experts."""
    host_capacity: int
    host_experts: int
    """Host memory that holds experts whose home is dram (0 with home nvme, or unified)."""
    dram_cache: int
    unified: bool

    @property
    def before_cache(self) -> int:
        """What is left for the cache; negative if the rest alone does not fit."""
        return self.capacity - self.reserve - self.resident - self.kv - self.pinned

    @property
    def left(self) -> int:
        """Bytes that nothing uses."""
        return self.before_cache - self.cache

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return self.left >= 0 and self.host_experts + self.dram_cache <= self.host_capacity

    @property
    def resident_share(self) -> Fraction:
        """Share of the routed bytes that the cache and the pinned experts can hold, at most 1."""
        return min(Fraction(1), Fraction(self.cache + self.pinned, self.routed)) if self.routed else Fraction(1)

    def rows(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of every part of the accelerator's memory; they sum to the first."""
        yield "memory" + (" (shared with the host)" if self.unified else ""), self.capacity
        yield "reserve", self.reserve
        yield "resident weights", self.resident
        yield "KV cache", self.kv
        yield "pinned experts", self.pinned
        yield "expert cache", self.cache
        yield "unused", self.left

    def __str__(self) -> str:
        lines = [f"{name:<32}{show_bytes(size):>12}" for name, size in self.rows()]
        share = float(self.resident_share * 100)
        lines.append(f"experts that fit: {share:.1f} % of {show_bytes(self.routed)}")
        if not self.unified:
            used = self.host_experts + self.dram_cache
            lines.append(f"host memory: {show_bytes(used)} of {show_bytes(self.host_capacity)} for experts")
        return "\n".join(lines)


def show_bytes(size: int) -> str:
    """Rounded, for people: ``12.3 GiB``."""
    sign, rest = ("-", -size) if size < 0 else ("", size)
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if rest >= scale:
            return f"{sign}{rest / scale:.4g} {unit}" if rest < 1000 * scale else f"{sign}{rest / scale:,.0f} {unit}"
    return f"{sign}{rest} B"


def divide(sections: Sections, machine: Machine, model: ModelSpec) -> tuple[MemoryDivision, list[Fault]]:
    """The division of a scenario, and what is wrong with it as faults with dotted fields."""
    faults: list[Fault] = []
    unified = machine.accelerator.unified
    host = _bytes(machine.host.memory.capacity.at())
    capacity = host if unified else _bytes(machine.accelerator.memory.capacity.at())
    memory, cache, placement = sections.memory, sections.expert_cache, sections.placement
    layers = model.moe_layers
    sizes = [model.expert_bytes(layer) * _experts(model, layer) for layer in layers]
    routed = sum(sizes)
    wholly: set[int] = set()
    pinned = 0
    if placement.pinned.kind == "layers":
        wanted = placement.pinned.value
        assert isinstance(wanted, tuple)
        for layer in wanted:
            if layer not in layers:
                allowed = f"layers with experts, {layers[0]} to {layers[-1]}"
                faults.append(Fault(field="placement.pinned.layers", got=layer, allowed=allowed))
        wholly = set(wanted) & set(layers)
        pinned = sum(size for layer, size in zip(layers, sizes, strict=True) if layer in wholly)
    elif placement.pinned.kind == "popular":
        assert isinstance(placement.pinned.value, Fraction)
        pinned = min(routed, _bytes(placement.pinned.value))
    reserve = _bytes(memory.reserve.value)
    resident, kv = model.resident_bytes(), sections.workload.batch_size * model.kv_bytes(memory.kv_tokens)
    left = capacity - reserve - resident - kv - pinned
    open_layers = [layer for layer in layers if layer not in wholly]
    total, per_layer, cache_faults = _cache(sections, model, left, routed, open_layers)
    faults += cache_faults
    nvme = placement.home == "nvme"
    made = MemoryDivision(
        capacity=capacity,
        reserve=reserve,
        resident=resident,
        kv=kv,
        pinned=pinned,
        cache=total,
        per_layer=per_layer,
        routed=routed,
        host_capacity=host,
        host_experts=0 if nvme or unified else routed,
        dram_cache=_bytes(memory.dram_cache.value) if memory.dram_cache is not None else 0,
        unified=unified,
    )
    if left < 0:
        parts = f"reserve {show_bytes(reserve)} + weights {show_bytes(resident)} + KV {show_bytes(kv)}"
        message = f"{parts} + pinned experts {show_bytes(pinned)} are {show_bytes(-left)} more than the accelerator has"
        worst = max((pinned, "placement.pinned"), (kv, "memory.kv_tokens"), (reserve, "memory.reserve"))[1]
        faults.append(Fault(message=message, field=worst, allowed=f"{show_bytes(capacity)} in all"))
    elif total > left and not cache_faults:
        message = f"{show_bytes(total)} of expert cache do not fit"
        allowed = f"up to {show(left, 'bytes')} ({show_bytes(capacity)} less what else is resident), or auto"
        faults.append(
            Fault(message=message, field="expert_cache.capacity", got=_written(cache.capacity.written), allowed=allowed)
        )
    if not unified and made.host_experts + made.dram_cache > host:
        field = "memory.dram_cache" if nvme else "placement.home"
        message = f"{show_bytes(made.host_experts + made.dram_cache)} of experts do not fit in host memory"
        faults.append(Fault(message=message, field=field, allowed=f"{show_bytes(host)}, or home: nvme"))
    return made, faults


def _cache(
    sections: Sections, model: ModelSpec, left: int, routed: int, layers: list[int]
) -> tuple[int, tuple[int, ...], list[Fault]]:
    """Bytes of the cache, and per MoE layer; one number for scope global."""
    capacity, scope = sections.expert_cache.capacity, sections.expert_cache.scope
    faults: list[Fault] = []
    if capacity.kind == "slots_per_layer":
        assert isinstance(capacity.value, int)
        most = max((_experts(model, layer) for layer in layers), default=0)
        if capacity.value > most and layers:
            field = "expert_cache.capacity.slots_per_layer"
            faults.append(Fault(field=field, got=capacity.value, allowed=f"0 to {most}, the experts of a layer"))
        by_layer = {layer: capacity.value * model.expert_bytes(layer) for layer in layers}
        total = sum(by_layer.values())
    else:
        whole = sum(model.expert_bytes(layer) * _experts(model, layer) for layer in layers)
        if capacity.kind == "auto":
            total = max(0, min(left, whole))
        else:
            assert isinstance(capacity.value, Fraction)
            total = _bytes(capacity.value * routed) if capacity.kind == "share" else _bytes(capacity.value)
        by_layer = dict.fromkeys(layers, total // len(layers) if layers else 0)
        if capacity.kind == "auto" and total == whole:
            # all experts fit: equal shares would starve layers whose experts are larger than the mean
            by_layer = {layer: model.expert_bytes(layer) * _experts(model, layer) for layer in layers}
    if scope == "global":
        return total, (total,), faults
    return total, tuple(by_layer.get(layer, 0) for layer in model.moe_layers), faults


def _experts(model: ModelSpec, layer: int) -> int:
    moe = model.layers[layer].moe
    return moe.n_experts if moe is not None else 0


def _bytes(value: Fraction) -> int:
    """Whole bytes, rounded down: half a byte holds nothing."""
    return value.numerator // value.denominator


def _written(value: object) -> str:
    return value if isinstance(value, str) else str(value).replace("'", "")
