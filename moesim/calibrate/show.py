"""A capture as text: what was measured on, then one table a section."""

from __future__ import annotations

from collections.abc import Sequence

from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Row
from moesim.calibrate.capture.timing import overlap

__all__ = ["overlaps", "rate", "seconds", "size", "table", "text"]


def seconds(value: float) -> str:
    """A duration in the unit that suits it.

    >>> seconds(0.00001234), seconds(2.5)
    ('12.3 us', '2.5 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}" if value / scale < 1000 else f"{value / scale:.0f} {unit}"
    return f"{value / 1e-9:.3g} ns"


def rate(value: float, unit: str) -> str:
    """A rate with a decimal prefix.

    >>> rate(25e9, "B/s")
    '25 GB/s'
    """
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def size(value: int) -> str:
    """Bytes in binary units where they are whole.

    >>> size(65536), size(1000)
    ('64 KiB', '1000 B')
    """
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale and value % scale == 0:
            return f"{value // scale} {unit}"
    return f"{value} B"


def overlaps(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """The rows in which two works ran together, with the share of the shorter that was hidden.

    `duplex` has h2d, d2h and both; `beside` copy, gemm and both: of one cell each.
    """
    found = []
    for row in rows:
        if row.method != "both" or not row.seconds:
            continue
        alone = [
            other
            for other in rows
            if (other.cell, other.op, other.shape) == (row.cell, row.op, row.shape)
            and other.method in ("h2d", "d2h", "copy", "gemm")
            and other.seconds
        ]
        if len(alone) == 2:
            found.append((row, overlap(alone[0].seconds, alone[1].seconds, row.seconds)))
    return found


def _line(row: Row, hidden: dict[int, float]) -> tuple[str, ...]:
    said = ", ".join(f"{k} {size(v) if k in _SIZES and isinstance(v, int) else v}" for k, v in row.shape.items())
    said += f", {row.tokens} tokens" if row.tokens else ""
    said += f", {row.distinct} distinct" if row.distinct else ""
    if not row.seconds:
        reason = f"failed: {row.error}" if row.error else f"skipped: {row.skipped}"
        return row.op, said.removeprefix(", "), row.dtype, row.method, reason, "", "", ""
    middle = row.median
    notes = [f"error {row.error_vs_float64:.1e}"] if row.error_vs_float64 else []
    if id(row) in hidden:
        notes.append(f"{100 * hidden[id(row)]:.0f} % hidden")
    if row.error:
        notes.append(f"failed: {row.error}")
    return (
        row.op,
        said.removeprefix(", "),
        row.dtype,
        row.method,
        seconds(middle),
        rate(row.bytes / middle, "B/s") if row.bytes else "",
        rate(row.flops / middle, "FLOP/s") if row.flops else "",
        ", ".join(notes),
    )


_SIZES = ("size", "piece")
_HEADS = ("op", "shape", "dtype", "method", "median", "bytes", "flops", "")


def table(rows: Sequence[Row]) -> str:
    """Rows of one section, aligned."""
    hidden = {id(row): share for row, share in overlaps(rows)}
    lines = [_HEADS, *(_line(row, hidden) for row in rows)]
    # a reason may be long: it does not widen its column
    widths = [max(len(line[i]) for line in lines if i != 4 or line[5:] != ("", "", "")) for i in range(len(_HEADS))]
    return "".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def text(capture: CaptureFile) -> str:
    """All of it."""
    found = capture.fingerprint
    width = max(map(len, found), default=0)
    parts = ["".join(f"{name:<{width}}  {value}\n" for name, value in found.items())]
    for section in dict.fromkeys(row.section for row in capture.rows):
        rows = [row for row in capture.rows if row.section == section]
        parts.append(f"{section}\n{table(rows)}")
    good = sum(row.ok for row in capture.rows)
    skipped = sum(bool(row.skipped) for row in capture.rows)
    parts.append(
        f"{len(capture.rows)} rows: {good} fine, {skipped} skipped, {len(capture.rows) - good - skipped} failed\n"
    )
    return "\n".join(parts)
