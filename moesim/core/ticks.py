"""Time: integer ticks of one picosecond, and the one rounding rule.

A duration in seconds becomes ``ceil(seconds * 10**12)`` ticks, computed exactly. Rounding up means that no operation
is ever faster than its rates allow, and that nothing with a cost becomes free.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["PS_PER_MS", "PS_PER_S", "ceil_div", "to_ticks"]

PS_PER_S = 10**12
PS_PER_MS = 10**9


def ceil_div(a: int, b: int) -> int:
    """The least integer not below a / b (b > 0), without floats."""
    return -(-a // b)


def to_ticks(seconds: Fraction | int) -> int:
    """Seconds to ticks: exact, rounded up, so at least 1 when not zero.

    >>> to_ticks(Fraction(1, 3 * 10**12)), to_ticks(0), to_ticks(Fraction(3, 1000))
    (1, 0, 3000000000)
    """
    if seconds < 0:
        raise ValueError(f"a duration cannot be negative: got {seconds} s")
    exact = Fraction(seconds)
    return ceil_div(exact.numerator * PS_PER_S, exact.denominator)
