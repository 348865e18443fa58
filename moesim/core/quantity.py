"""Quantities with units: text such as ``"3.35 TB/s"`` to an exact Fraction in SI, and back.

Decimal prefixes are powers of ten (1 GB = 1e9 B), binary ones powers of two (1 GiB = 2**30 B). Bytes only: ``b`` is
a bit and is refused, because "12 Mb" is read as megabytes by half of its readers. A bare number is refused wherever a
dimension exists; a ratio alone may be bare. Everything is exact: no float takes part.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import isfinite

from moesim.errors import nearest

__all__ = ["DIMENSIONS", "QuantityError", "example", "parse", "pattern", "show", "units"]

_DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}
_TIME = {
    "s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6),  # micro sign U+00B5
    "μs": Fraction(1, 10**6), "ns": Fraction(1, 10**9), "ps": Fraction(1, 10**12),  # Greek mu U+03BC
    "min": Fraction(60), "h": Fraction(3600),
}  # fmt: skip
_BYTES = {f"{p}B": Fraction(10**e) for p, e in _DECIMAL.items()} | {f"{p}B": Fraction(2**e) for p, e in _BINARY.items()}

# dimension -> (units in SI, an example). The first unit of each is the SI one.
_TABLE: dict[str, tuple[dict[str, Fraction], str]] = {
    "time": (_TIME, "12 us"),
    "bytes": (_BYTES, "24 GiB"),
    "bandwidth": ({f"{u}/s": v for u, v in _BYTES.items()}, "1008 GB/s"),
    "compute": (
        {f"{p}{op}": Fraction(10**e) for op in ("FLOP/s", "FLOPS", "OP/s", "OPS") for p, e in _DECIMAL.items()},
        "165.2 TFLOP/s",
    ),
    "per_byte": ({f"{t}/{b}": tv / bv for t, tv in _TIME.items() for b, bv in _BYTES.items()}, "0.128 ms/MB"),
    "ratio": ({"": Fraction(1), "%": Fraction(1, 100)}, "80 %"),
    "power": ({"W": Fraction(1), "mW": Fraction(1, 1000), "kW": Fraction(1000)}, "450 W"),
}
DIMENSIONS = tuple(_TABLE)

# At most 40 digits and a two-figure exponent, so that "1e999999999 GB" cannot eat the machine's memory.
_NUMBER = r"[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?"
_QUANTITY = re.compile(rf"({_NUMBER}) *([A-Za-zµμ%/]*)")
_BITS = re.compile(r"(?:[kKMGTP]i?)?(?:b|bit|bits|bps)(?:/s)?")


class QuantityError(ValueError):
    """Text that is not a quantity of the wanted dimension. Has `got` and `allowed`, both ready to print."""

    def __init__(self, got: str, allowed: str) -> None:
        super().__init__(got, allowed)
        self.got, self.allowed = got, allowed

    def __str__(self) -> str:
        return f"got {self.got}, allowed {self.allowed}"


def units(dimension: str) -> tuple[str, ...]:
    """The units a dimension knows, the SI one first. Raises KeyError on an unknown dimension."""
    return tuple(_TABLE[dimension][0])


def example(dimension: str) -> str:
    """One valid text of the dimension, for error messages and schemas."""
    return _TABLE[dimension][1]


def pattern(dimension: str) -> str:
    """A regular expression (ECMA 262 and Python) that valid texts of the dimension match as a whole."""
    return f"^ *{_NUMBER} *(?:{'|'.join(map(re.escape, sorted(units(dimension))))}) *$".replace(r"\%", "%")


def parse(text: object, dimension: str) -> Fraction:
    """The quantity in SI units (s, B, B/s, FLOP/s, s/B, 1, W), exact and never negative.

    >>> parse("3.35 TB/s", "bandwidth"), parse("2 GiB", "bytes"), parse("10 %", "ratio")
    (Fraction(3350000000000, 1), Fraction(2147483648, 1), Fraction(1, 10))
    >>> parse("12 Mb", "bytes")
    Traceback (most recent call last):
    moesim.core.quantity.QuantityError: got "12 Mb" (b is bits: divide by 8), allowed bytes such as "24 GiB"

    Raises QuantityError on a bare number (unless a ratio), an unknown unit, a unit of another dimension, a negative
    number, NaN or infinity.
    """
    known, shown = _TABLE[dimension]
    allowed = f'{dimension.replace("_", " ")} such as "{shown}"'
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not isfinite(text):
            raise QuantityError(f"{text} (not a finite number)", allowed)
        if dimension != "ratio":
            raise QuantityError(f"{text} (a bare number)", f"{allowed}, with its unit")
        text = str(text)  # 0.1 means one tenth, not the nearest binary float
    if not isinstance(text, str):
        raise QuantityError(f"{text!r}", allowed)
    got, stripped = f'"{text if len(text) <= 60 else text[:57] + "..."}"', text.strip(" ")
    if stripped.startswith("-"):
        raise QuantityError(f"{got} (negative)", allowed)
    match = _QUANTITY.fullmatch(stripped)
    if match is None:
        raise QuantityError(f"{got} (not a plain finite number and a unit)", allowed)
    number, unit = match.groups()
    if unit in known:
        return Fraction(number) * known[unit]
    raise QuantityError(got + _hint(unit, known), allowed)


def _hint(unit: str, known: dict[str, Fraction]) -> str:
    if not unit:
        return " (no unit)"
    if unit in ("KB", "KB/s"):
        return " (write kB for 1000 or KiB for 1024 bytes)"
    if _BITS.fullmatch(unit):
        return " (b is bits: divide by 8)"
    other = next((d for d, (table, _) in _TABLE.items() if unit in table), "")
    if other:
        return f" (that is {other.replace('_', ' ')})"
    near = nearest(unit, known)
    return f" (unknown unit{f', nearest {near}' if near else ''})"


def show(value: Fraction | int, dimension: str) -> str:
    """Short text of an SI value: exact where six significant digits suffice, else rounded to six.

    >>> show(24 * 2**30, "bytes"), show(Fraction(10**9, 3), "bandwidth"), show(Fraction(1, 4), "ratio")
    ('24 GiB', '333.333 MB/s', '25 %')
    """
    exact = Fraction(value)
    # Among units, prefer one that shows the value exactly, then a number in [1, 1000), then the shortest text.
    best: tuple[bool, bool, int, int] | None = None
    text = ""
    for order, (unit, size) in enumerate(_TABLE[dimension][0].items()):
        number = exact / size
        digits = f"{float(number):.6g}"
        key = (Fraction(digits) != number, number != 0 and not 1 <= number < 1000, len(digits) + len(unit), order)
        if best is None or key < best:
            best, text = key, f"{digits} {unit}".rstrip()
    return text
