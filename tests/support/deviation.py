"""Comparison of a simulated number with a closed form, the deviation and the terms printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import sqrt

__all__ = ["agrees", "agrees_on_average"]


def agrees(
    what: str, got: float | int | Fraction, terms: Mapping[str, int | Fraction], *, percent: float = 0.0
) -> None:
    """`got` is the sum of `terms` within `percent` (0: exactly). Prints both, the deviation and the terms."""
    want = sum(terms.values())
    off = 100 * float(Fraction(got) / Fraction(want) - 1) if want else float("inf")
    print(f"{what}: simulated {float(got):.6g}, closed form {float(want):.6g}, deviation {off:+.4f} %")
    print("    " + " + ".join(f"{name} {float(value):.6g}" for name, value in terms.items()))
    if percent:
        assert abs(off) <= percent, f"{what}: deviation {off:+.4f} %, allowed {percent} %"
    else:
        assert got == want, f"{what}: {got}, not {want}"


def agrees_on_average(what: str, samples: Sequence[float], want: float, *, errors: float = 3.5) -> None:
    """The mean of independent samples is `want` within so many standard errors (plus rounding of `want`)."""
    n = len(samples)
    mean = sum(samples) / n
    error = sqrt(sum((x - mean) ** 2 for x in samples) / (n - 1) / n)
    off = 100 * (mean / want - 1)
    print(f"{what}: mean of {n} {mean:.5g} +- {error:.2g}, law {want:.5g}, deviation {off:+.3f} %")
    assert abs(mean - want) <= errors * error, f"{what}: {mean} is {abs(mean - want) / error:.1f} errors from {want}"
