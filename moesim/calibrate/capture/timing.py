"""Clocks: samples of the seconds that one call takes, on the device's clock or the host's, or scripted.

A sample covers as many calls, back to back, as make it long against the clock's resolution, divided by their number.
Data are rotated by the caller (`Rotation`), so that successive calls find nothing of each other in the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Generic, Protocol, TypeVar

from moesim.calibrate.capture.rows import Row

__all__ = ["Clock", "CudaClock", "HostClock", "Rotation", "ScriptedClock", "bandwidth", "overlap"]

T = TypeVar("T")
_MIN_SAMPLES = 3
_MAX_CALLS = 256  # calls of one sample; well below what a device queues before it makes the host wait


class Clock(Protocol):
    """What sections time with."""

    name: str
    """cuda, cpu, ...: goes into the rows as `device`."""

    def time(
        self,
        fn: Callable[[], object],
        *,
        warmup: int,
        repeats: int,
        budget: float,
        about: Row | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> list[float]:
        """Samples of the seconds of one `fn()`: `warmup` calls unseen, then `repeats` samples, fewer (but at least 3)
        once `budget` seconds of wall time are spent. `about` is the row to be measured: only scripts look at it.
        `prepare` is called before each sample and not timed; a sample is one call then.
        """


class HostClock:
    """`time.perf_counter`, with the device idle before and after each sample.

    `synchronize` waits for the device; None for work that is done when the call returns. With `wait` False a sample
    ends when the calls have returned: what it costs the host to issue them.
    """

    def __init__(
        self,
        name: str = "host",
        synchronize: Callable[[], object] | None = None,
        sample: float = 20e-6,
        wait: bool = True,
    ) -> None:
        self.name = name
        self._synchronize = synchronize or (lambda: None)
        self._wait = self._synchronize if wait else (lambda: None)
        self._sample = sample

    def time(
        self,
        fn: Callable[[], object],
        *,
        warmup: int,
        repeats: int,
        budget: float,
        about: Row | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> list[float]:
        synchronize, wait, sample, clock = self._synchronize, self._wait, self._sample, time.perf_counter
        end = clock() + budget

        def once(calls: int) -> float:
            synchronize()
            if prepare is not None:
                prepare()
            begun = clock()
            for _ in range(calls):
                fn()
            wait()
            return (clock() - begun) / calls

        return _samples(once, sample if prepare is None else 0.0, warmup, repeats, end)


class CudaClock:
    """Device events around the calls on the current stream. Work of other streams counts if `fn` makes it join."""

    name = "cuda"

    def __init__(self, torch: Any, sample: float = 200e-6) -> None:
        self._torch = torch
        self._sample = sample

    def time(
        self,
        fn: Callable[[], object],
        *,
        warmup: int,
        repeats: int,
        budget: float,
        about: Row | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> list[float]:
        cuda = self._torch.cuda
        end = time.perf_counter() + budget
        first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)

        def once(calls: int) -> float:
            cuda.synchronize()
            if prepare is not None:
                prepare()
            first.record()
            for _ in range(calls):
                fn()
            last.record()
            last.synchronize()
            return float(first.elapsed_time(last)) * 1e-3 / calls

        return _samples(once, self._sample if prepare is None else 0.0, warmup, repeats, end)


def _samples(once: Callable[[int], float], sample: float, warmup: int, repeats: int, end: float) -> list[float]:
    """`once(calls)` gives the seconds of one call; `end` is when the budget is spent (perf_counter)."""
    seen = [once(1) for _ in range(max(1, warmup))]
    calls = max(1, min(_MAX_CALLS, round(sample / max(min(seen), 1e-9))))
    if calls > 1:
        once(calls)
    samples: list[float] = []
    while len(samples) < repeats and (len(samples) < min(_MIN_SAMPLES, repeats) or time.perf_counter() < end):
        samples.append(once(calls))
    return samples


class ScriptedClock:
    """A device that exists on paper: `price(about)` is what one call takes, or the samples themselves.

    The function is called once, so that what it computes can still be checked.
    """

    def __init__(self, price: Callable[[Row], float | Sequence[float]], name: str = "scripted") -> None:
        self.name = name
        self._price = price
        self.seen: list[Row] = []

    def time(
        self,
        fn: Callable[[], object],
        *,
        warmup: int,
        repeats: int,
        budget: float,
        about: Row | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> list[float]:
        if about is None:
            raise ValueError("a scripted clock must be told what is timed")
        fn()
        self.seen.append(about)
        price = self._price(about)
        return [float(price)] * repeats if isinstance(price, (int, float)) else [float(p) for p in price]


class Rotation(Generic[T]):
    """Goes round several equal buffers (or sets of them), so that a call never finds its data in a cache.

    >>> turn = Rotation([1, 2, 3])
    >>> [turn.next() for _ in range(4)]
    [1, 2, 3, 1]
    """

    def __init__(self, items: Sequence[T]) -> None:
        self.items = list(items)
        self._at = -1

    def next(self) -> T:
        """The next buffer in turn."""
        self._at = (self._at + 1) % len(self.items)
        return self.items[self._at]

    @staticmethod
    def copies(footprint: int, cache: int, room: int, most: int = 16) -> int:
        """How many buffers of `footprint` bytes to go round so that all of them exceed twice the `cache`, within
        `room` bytes.

        >>> Rotation.copies(10, 50, 1000), Rotation.copies(10, 50, 35), Rotation.copies(1, 50, 1000)
        (11, 3, 16)
        """
        wanted = 2 * cache // max(footprint, 1) + 1
        return max(1, min(wanted, most, room // max(footprint, 1)))


def bandwidth(row: Row) -> float:
    """Bytes over the median (B/s)."""
    return row.bytes / row.median


def overlap(first: Sequence[float], second: Sequence[float], both: Sequence[float]) -> float:
    """Share of the shorter of two works that was hidden when both ran at once.

    (a + b - both) / min(a, b), of medians (s): 1 is side by side, 0 one after the other, below 0 they hurt each other.
    """
    a, b, together = median(first), median(second), median(both)
    return (a + b - together) / min(a, b)
