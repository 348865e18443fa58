"""Counter-based random numbers: the same in Python, numpy and compiled code, in any order of evaluation.

A draw is a pure function of (seed, stream, step, layer, slot, attempt), so a component that draws more or less never
shifts the draws of another. The mixing function is splitmix64's finalizer (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), applied once for each coordinate:
``h = mix(seed); for v in coordinates: h = mix(h xor v)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import count
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["attempts", "draw", "draws", "stream_id", "threshold"]

_MASK = (1 << 64) - 1
_GAMMA, _A, _B = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@lru_cache(maxsize=64)
def stream_id(name: str) -> int:
    """The number of a named stream: crc32 of the name."""
    return crc32(name.encode())


def _mix(z: int) -> int:
    z = (z + _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _A) & _MASK
    z = ((z ^ (z >> 27)) * _B) & _MASK
    return z ^ (z >> 31)


def draw(seed: int, stream: int, step: int = 0, layer: int = 0, slot: int = 0, attempt: int = 0) -> int:
    """One uniform integer in [0, 2**64)."""
    h = _mix(seed & _MASK)
    for coordinate in (stream, step, layer, slot, attempt):
        h = _mix(h ^ coordinate)
    return h


def attempts(seed: int, stream: int, step: int, layer: int, slot: int) -> Iterator[int]:
    """`draw` with attempt = 0, 1, 2, ...: for draws that are repeated until one serves."""
    h = _mix(seed & _MASK)
    for coordinate in (stream, step, layer, slot):
        h = _mix(h ^ coordinate)
    for attempt in count():
        yield _mix(h ^ attempt)


def _mix_array(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = z + np.uint64(_GAMMA)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_A)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_B)
    return z ^ (z >> np.uint64(31))


def draws(
    seed: int, stream: int, step: ArrayLike = 0, layer: ArrayLike = 0, slot: ArrayLike = 0, attempt: ArrayLike = 0
) -> NDArray[np.uint64]:
    """`draw` on broadcast arrays of non-negative integers."""
    h = np.asarray(_mix(seed & _MASK), dtype=np.uint64)
    for coordinate in (stream, step, layer, slot, attempt):
        h = _mix_array(h ^ np.asarray(coordinate).astype(np.uint64))
    return h


def threshold(probability: Fraction | float) -> int:
    """The integer t for which ``draw(...) < t`` has the given probability, in [0, 2**64]."""
    exact = Fraction(probability)
    if not 0 <= exact <= 1:
        raise ValueError(f"a probability lies in [0, 1]: got {probability}")
    return round(exact * (1 << 64))
