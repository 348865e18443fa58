"""Numbers and words for readers: three significant digits, a unit that fits."""

from __future__ import annotations

__all__ = ["amount", "count", "duration", "listed", "number", "percent", "rate", "size"]


def number(value: float, digits: int = 3) -> str:
    """Significant digits, thousands separated, no exponent.

    >>> number(13.2184), number(1234567), number(0.04567), number(99.96)
    ('13.2', '1,234,567', '0.0457', '100')
    """
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    magnitude = f"{abs(rounded):e}"
    decimals = max(0, digits - 1 - int(magnitude[magnitude.index("e") + 1 :]))
    return f"{value if decimals == 0 else rounded:,.{decimals}f}"


def duration(ms: float) -> str:
    """Milliseconds in the unit that reads best.

    >>> duration(75.84), duration(1204.2), duration(0.0123), duration(125000)
    ('75.8 ms', '1.20 s', '12.3 us', '125 s')
    """
    for unit, scale in (("s", 1e3), ("ms", 1.0), ("us", 1e-3)):
        if ms >= scale * 0.9995:
            return f"{number(ms / scale)} {unit}"
    return f"{number(ms * 1e6)} ns" if ms else "0 ms"


def _scaled(value: float, units: tuple[str, ...], base: float) -> str:
    scale, unit = 1.0, units[0]
    for larger in units[1:]:
        if value < scale * base * 0.9995:
            break
        scale, unit = scale * base, larger
    return f"{number(value / scale)} {unit}"


def size(value: float) -> str:
    """Bytes, decimal.

    >>> size(46_183_000_000), size(512)
    ('46.2 GB', '512 B')
    """
    return _scaled(value, ("B", "kB", "MB", "GB", "TB", "PB"), 1e3)


def amount(value: float) -> str:
    """Bytes of memory, binary.

    >>> amount(24 * 2**30)
    '24.0 GiB'
    """
    return _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)


def rate(value: float) -> str:
    """Bytes per second."""
    return f"{size(value)}/s"


def percent(share: float | None, digits: int = 3) -> str:
    """A share in percent; a dash when there is none.

    >>> percent(0.7234), percent(1), percent(0.00012), percent(None)
    ('72.3 %', '100 %', '0.012 %', '–')
    """
    if share is None:
        return "–"
    if 0 < share < 1e-3:
        digits = 2
    text = number(share * 100, digits)
    # "100 %" must mean all of them
    if text == "100" and share < 1:
        text = "99.9" if share < 0.9995 else "over 99.9"
    return f"{text} %"


def count(value: int, noun: str, plural: str = "") -> str:
    """
    >>> count(1, "step"), count(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def listed(parts: list[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
