"""A machine's numbers as the cost functions take them, each with its source: the one place that reads hardware fields.

Every rate may be a measured curve: bandwidths are evaluated at the bytes they move, efficiency at the rows of a GEMM,
storage at read size and busy lanes. A machine whose accelerator shares the host's memory has no link, and nothing has
to cross one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from moesim.cost.launch import MODES, OPERATIONS, Launch
from moesim.cost.rates import Rates
from moesim.cost.service import Service
from moesim.errors import Fault, InputError, nearest
from moesim.hardware.machine import Machine
from moesim.hardware.runtime import EvictOverhead
from moesim.hardware.sourced import Sourced
from moesim.hardware.storage import Storage

__all__ = ["LinkPrices", "Prices", "StoragePrices", "read_prices"]


@dataclass(frozen=True, kw_only=True)
class LinkPrices:
    """The link from host memory: bytes -> s, t0 and resume_overhead in s, method loop | batch | gather."""

    service: Service
    t0: Fraction
    resume: Fraction
    method: str


@dataclass(frozen=True, kw_only=True)
class StoragePrices:
    """Storage: lanes[b - 1] is bytes -> s with b busy lanes at the rate of all together; largest single read, B."""

    lanes: tuple[Service, ...]
    read_bytes: int


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Everything a machine contributes to a duration. Times in s, per-byte times in s/B, sizes in B.

    sources: dotted hardware field -> (value as written, where it comes from).
    """

    rates: Rates
    launch: Launch
    host_memory: Service
    link: LinkPrices | None
    storage: StoragePrices | None
    d2h_sync: Fraction
    lookup: Fraction
    issue: Fraction
    host_gap: Fraction
    load_overhead: tuple[Fraction, Fraction]
    evict_overhead: tuple[Fraction, Fraction]
    overhead_on: str
    pieces: int
    read_padding: int
    sources: Mapping[str, tuple[str, str]]


class _Rate(Protocol):
    """A number or a curve of the machine."""

    @property
    def knots(self) -> tuple[int, ...]: ...

    def at(self, x: int | None = None) -> Fraction: ...


def _service(rate: _Rate) -> Service:
    return Service.of_curve(rate.at, rate.knots) if rate.knots else Service(rate.at())


def _lane(storage: Storage, busy: int) -> Service:
    table = storage.bandwidth
    if table.knots:
        return Service.of_curve(lambda x: table.at(x, busy), table.knots)
    return Service(table.at(1, busy))


def _overhead(given: EvictOverhead | None) -> tuple[Fraction, Fraction]:
    return (given.fixed.at(), given.per_byte.at()) if given else (Fraction(0), Fraction(0))


def _text(number: Sourced) -> str:
    value = getattr(number, "value", None)
    return "a curve" if value is None else str(value)


def read_prices(machine: Machine, launch: str | None = None) -> Prices:
    """The machine's numbers. launch: in place of the runtime's own. Raises InputError on an unknown launch mode."""
    runtime, accelerator, link = machine.runtime, machine.accelerator, machine.links.host_to_device
    mode = runtime.launch if launch is None else launch
    if mode not in MODES:
        raise InputError(Fault(field="launch", got=mode, allowed=" | ".join(MODES), nearest=nearest(mode, MODES)))
    rates = Rates(
        memory=_service(accelerator.memory.bandwidth),
        efficiency=_service(accelerator.compute_efficiency),
        peaks={dtype: rate.at() for dtype, rate in accelerator.compute.items()},
        l2=_service(accelerator.l2.bandwidth) if accelerator.l2 else None,
        l2_size=int(accelerator.l2.size.at()) if accelerator.l2 else 0,
    )
    return Prices(
        rates=rates,
        launch=Launch(
            mode=mode,
            kernel_launch=accelerator.kernel_launch.at(),
            graph_replay=accelerator.graph_replay.at(),
            kernels={operation: int(getattr(runtime.kernels, operation)) for operation in OPERATIONS},
        ),
        host_memory=_service(machine.host.memory.bandwidth),
        link=LinkPrices(
            service=_service(link.bandwidth),
            t0=link.copy_overhead.at(),
            resume=link.resume_overhead.at(),
            method=link.method,
        )
        if link
        else None,
        storage=StoragePrices(
            lanes=tuple(_lane(machine.storage, busy) for busy in range(1, int(machine.storage.lanes) + 1)),
            read_bytes=int(machine.storage.read_bytes.at()),
        )
        if machine.storage
        else None,
        d2h_sync=runtime.d2h_sync.at(),
        lookup=runtime.lookup.at(),
        issue=runtime.issue.at(),
        host_gap=runtime.host_gap.at(),
        load_overhead=_overhead(runtime.load_overhead),
        evict_overhead=_overhead(runtime.evict_overhead),
        overhead_on=runtime.load_overhead.on if runtime.load_overhead else "stream",
        pieces=int(runtime.pieces_per_expert),
        read_padding=int(runtime.read_padding.at()),
        sources={
            field: (_text(number), f"{source.kind}: {source.title}")
            for field, number in machine.numbers()
            for source in [machine.source_of(number)]
        },
    )
