"""The terms of one duration, for people: what was multiplied with what, and where each number comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from moesim.core.quantity import show
from moesim.core.ticks import PS_PER_S
from moesim.cost.control import Control, Overhead
from moesim.cost.prices import Prices
from moesim.cost.roofline import Part, combine
from moesim.cost.storage import StorageReads
from moesim.cost.transfer import Transfer, copy_bytes

__all__ = ["Term", "explain_operation", "explain_runtime", "explain_storage", "explain_transfer"]


class Term(NamedTuple):
    """One line: what it is, its value with a unit, where it comes from (a source, or the equation)."""

    term: str
    value: str
    source: str


def _time(seconds: Fraction) -> str:
    """Seconds in a unit that fits, four significant digits (for reading; the exact value is the Duration's)."""
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        if seconds * scale >= 1:
            return f"{float(seconds * scale):.4g} {unit}"
    return f"{float(seconds * 10**12):.4g} ps"


def _ticks(ticks: int) -> str:
    """A duration exactly, and in a unit that fits."""
    return f"{ticks} ps ({_time(Fraction(ticks, PS_PER_S))})"


def _rate(value: Fraction, unit: str) -> str:
    return f"{float(value / 10**12):.4g} T{unit}" if value >= 10**12 else f"{float(value / 10**9):.4g} G{unit}"


def _sourced(prices: Prices, *fields: str) -> Iterable[Term]:
    return (Term(field, *prices.sources[field]) for field in fields if field in prices.sources)


def explain_operation(prices: Prices, operation: str, parts: Sequence[Part]) -> list[Term]:
    """Launch, then each part's arithmetic and bytes, then the total."""
    launch = prices.launch.seconds(operation)
    terms = [Term("launch", _time(launch), f"{prices.launch.mode}: {prices.launch.formula(operation)}")]
    used = "graph_replay" if prices.launch.formula(operation) == "graph_replay" else "kernel_launch"
    terms += _sourced(prices, f"accelerator.{used}") if launch else ()
    for part in parts:
        terms += [
            Term(f"{part.name}: flops", f"{part.flops}", "from the model's shapes"),
            Term(f"{part.name}: arithmetic", _time(part.compute), f"flops / ({part.dtype} peak x efficiency)"),
            Term(f"{part.name}: bytes", show(part.bytes, "bytes"), "from the model's formats"),
            Term(f"{part.name}: memory", _time(part.memory), "bytes / bandwidth"),
        ]
        if part.memory:
            terms.append(
                Term(f"{part.name}: bytes per second", _rate(part.bytes / part.memory, "B/s"), "bytes / memory")
            )
    for dtype in dict.fromkeys(part.dtype for part in parts):
        terms += _sourced(prices, f"accelerator.compute.{dtype}")
    terms += _sourced(
        prices, "accelerator.compute_efficiency", "accelerator.memory.bandwidth", "accelerator.l2.bandwidth"
    )
    total = combine(parts, launch)
    terms.append(
        Term("total", _ticks(total.ticks), f"launch + max(arithmetic, memory) of each part; bound by {total.why}")
    )
    return terms


def explain_transfer(prices: Prices, made: Transfer) -> list[Term]:
    """The way of one expert over the link."""
    terms = [
        Term("bytes", show(made.bytes, "bytes"), "from the model's formats"),
        Term("copy size", show(copy_bytes(made.bytes, made.pieces, made.method), "bytes"), f"method {made.method}"),
        Term("duration of the bytes", _ticks(made.duration), "bytes x the slowest of link, host memory, device memory"),
        Term(
            "copy overheads",
            f"{made.starts} x {_ticks(made.t0)}",
            "t0 per copy call (loop) or per issue (batch, gather)",
        ),
    ]
    link = "links.host_to_device"
    terms += _sourced(prices, f"{link}.bandwidth", f"{link}.copy_overhead", f"{link}.resume_overhead")
    terms += _sourced(prices, "host.memory.bandwidth", "accelerator.memory.bandwidth")
    return terms


def explain_storage(prices: Prices, made: StorageReads) -> list[Term]:
    """The reads of one expert, and what the first of them takes alone and with every lane busy."""
    first = made.by_size[made.reads[0].moved]
    terms = [
        Term("reads", f"{len(made.reads)}", f"{prices.pieces} pieces, each padded, in reads of at most read_bytes"),
        Term("bytes read", show(sum(read.moved for read in made.reads), "bytes"), "the expert with its padding"),
        Term("first read alone", _ticks(first[1]), "bytes / rate(bytes, 1 lane)"),
        Term("first read, all lanes busy", _ticks(first[-1]), "lanes x bytes / rate(bytes, lanes)"),
    ]
    rows = [field for field in prices.sources if field.startswith("storage.bandwidth")]
    terms += _sourced(prices, "storage.lanes", "storage.read_bytes", *rows)
    terms += _sourced(prices, "runtime.pieces_per_expert", "runtime.read_padding", "host.memory.bandwidth")
    return terms


def explain_runtime(prices: Prices, name: str, made: Control | Overhead) -> list[Term]:
    """The control path, or an overhead of loading or evicting."""
    if isinstance(made, Control):
        return [*_sourced(prices, "runtime.d2h_sync", "runtime.lookup", "runtime.issue", "runtime.host_gap")]
    total = Term("total", _ticks(made.ticks), f"fixed + per_byte x bytes, on the {made.on}")
    return [*_sourced(prices, f"runtime.{name}.fixed", f"runtime.{name}.per_byte"), total]
