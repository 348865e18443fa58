"""Why the stream waited: what the awaited transfer was doing meanwhile, read off the other lanes of the timeline."""

from __future__ import annotations

from collections.abc import Iterable

from moesim.report.text import count, duration
from moesim.results.perfetto import BRINGS
from moesim.results.result import Slice

__all__ = ["Reasons"]


class Reasons:
    """Explains the waits of a timeline window.

    A wait [a, b) ended by transfer t is cut into: t on the link; t read from storage (and not on the link); before t's
    first read, storage busy with others; the link busy with others; the rest (not issued yet, or waiting for room).
    """

    def __init__(self, slices: Iterable[Slice]) -> None:
        self._link: list[Slice] = []
        self._storage: list[Slice] = []
        for item in slices:
            if item.name in BRINGS:
                (self._link if item.lane == "link" else self._storage).append(item)

    def why(self, wait: Slice) -> str:
        """One clause, such as "1.30 ms behind 2 other copies, 3.51 ms on the link"."""
        own = _union((s.start, s.end) for s in self._link if s.transfer == wait.transfer)
        reads = _union((s.start, s.end) for s in self._storage if s.transfer == wait.transfer)
        others = _others(self._link, wait)
        before = [s for s in _others(self._storage, wait) if reads and s.start < reads[0][0]]
        cut = [(wait.start, wait.end)]
        on_link = _length(_both(cut, own))
        cut = _less(cut, own)
        on_storage = _length(_both(cut, reads))
        cut = _less(cut, reads)
        ahead = _both(_union((s.start, s.end) for s in before), [(wait.start, reads[0][0])] if reads else [])
        storage_busy = _length(_both(cut, ahead))
        cut = _less(cut, ahead)
        busy = _union((s.start, s.end) for s in others)
        behind = _length(_both(cut, busy))
        rest = _length(_less(cut, busy))
        copies = count(len({s.transfer for s in others}), "other copy", "other copies")
        parts = [
            (behind, f"while the link carried {copies}"),
            (storage_busy, "while storage read other experts"),
            (on_storage, "being read from storage"),
            (on_link, "on the link itself"),
            (rest, "not yet under way"),
        ]
        return ", ".join(f"{duration(ticks / 1e9)} {words}" for ticks, words in parts if ticks > 0)


def _others(lane: list[Slice], wait: Slice) -> list[Slice]:
    """Slices of other transfers that overlap the wait."""
    return [s for s in lane if s.transfer != wait.transfer and s.start < wait.end and s.end > wait.start]


Spans = list[tuple[int, int]]


def _union(spans: Iterable[tuple[int, int]]) -> Spans:
    made: Spans = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        elif end > start:
            made.append((start, end))
    return made


def _both(left: Spans, right: Spans) -> Spans:
    return [(max(a, c), min(b, d)) for a, b in left for c, d in right if max(a, c) < min(b, d)]


def _less(left: Spans, right: Spans) -> Spans:
    for c, d in right:
        left = [(x, y) for a, b in left for x, y in ((a, min(b, c)), (max(a, d), b)) if x < y]
    return left


def _length(spans: Spans) -> int:
    return sum(b - a for a, b in spans)
