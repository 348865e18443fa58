"""Timing on a machine that is not idle: interleaved runs, the best of several, CPU time of this process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

__all__ = ["best_cpu", "best_wall", "wall_of"]


def best_cpu(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least CPU seconds of each piece of work over `rounds` rounds, in each of which every piece runs once.

    Interleaved, so that what disturbs the machine for a while disturbs all of them.
    """
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for i, work in enumerate(works):
            begun = time.process_time()
            work()
            best[i] = min(best[i], time.process_time() - begun)
    return best


def wall_of(command: Sequence[str]) -> float:
    """Wall-clock seconds of a command that must succeed; its output is dropped.

    Raises subprocess.CalledProcessError (with what it said) if it fails.
    """
    begun = time.perf_counter()
    subprocess.run(list(command), check=True, capture_output=True)
    return time.perf_counter() - begun


def best_wall(commands: Sequence[Sequence[str]], rounds: int) -> list[float]:
    """The least wall-clock seconds of each command, interleaved."""
    return [min(times) for times in zip(*([wall_of(c) for c in commands] for _ in range(rounds)), strict=True)]
