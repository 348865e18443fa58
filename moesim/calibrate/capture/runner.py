"""Runs the cells: in order, within the minutes, each guarded, the file saved as it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from moesim.calibrate.capture.context import Context, is_memory
from moesim.calibrate.capture.device import Device, open_device
from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.fingerprint import fingerprint
from moesim.calibrate.capture.rows import Cell, Row, Unsupported
from moesim.calibrate.capture.sections import chosen, load
from moesim.errors import Fault, InputError

__all__ = ["KIT", "Options", "Outcome", "Progress", "begin", "describe", "plan", "run_cells"]

KIT = 1  # raised when what the cells measure changes: captures of different kits are not joined


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. `minutes` None: 8, or 3 with `quick`."""

    output: Path | None = None
    device: str = ""
    minutes: float | None = None
    quick: bool = False
    only: tuple[str, ...] = ()
    path: Path | None = None
    seed: int = 0

    @property
    def limit(self) -> float:
        """Wall seconds for the cells."""
        return 60 * (self.minutes if self.minutes is not None else 3 if self.quick else 8)


@dataclass(kw_only=True)
class Outcome:
    """What came of it. `left`: cells for which no time was left; `lost`: why the rest could not be tried."""

    done: int = 0
    resumed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    lost: str = ""


class Progress:
    """One line on stderr that is drawn over, on terminals only."""

    def __init__(self, to: IO[str] | None = None) -> None:
        self._to = to if to is not None else sys.stderr
        self._shown = self._to.isatty()

    def __call__(self, share: float, text: str) -> None:
        if self._shown:
            bar = "#" * int(30 * min(1.0, share))
            self._to.write(f"\r\x1b[K[{bar:<30}] {text[:88]}")
            self._to.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._to.write("\r\x1b[K")
            self._to.flush()


def begin(options: Options) -> Context:
    """The context of a capture: device opened, file of an earlier run read; InputError if either cannot be."""
    if options.path is not None and not options.path.exists():
        raise InputError(Fault(field="--path", message="no such file or folder", got=str(options.path)))
    if options.minutes is not None and options.minutes <= 0:
        raise InputError(Fault(field="--minutes", got=options.minutes, allowed="a number above 0"))
    device = open_device(options.device)
    ctx = Context(
        device=device,
        clock=device.clock(),
        budget=0.1 if options.quick or not device.is_cuda else 0.15,
        seed=options.seed,
        quick=options.quick,
        repeats=7 if options.quick else 20,
        warmup=1 if options.quick else 3,
        path=options.path,
    )
    if options.output is not None:
        settings = {"kit": KIT, "device": device.name, "quick": options.quick, "seed": options.seed}
        ctx.file = CaptureFile.resume(options.output, settings, fingerprint(device))
    return ctx


def plan(ctx: Context, only: Iterable[str] = ()) -> list[Cell]:
    """All cells of the chosen sections; ValueError for two cells of one key."""
    cells = [cell for name in chosen(only) for cell in load(name).plan(ctx)]
    keys = [cell.key for cell in cells]
    if len(set(keys)) < len(keys):
        raise ValueError(f"cells with the same key: {sorted(k for k in set(keys) if keys.count(k) > 1)}")
    return cells


def describe(cells: Sequence[Cell], limit: float) -> str:
    """The plan as text: cells and seconds by section, then all."""
    lines = [f"{cell.estimate:7.1f} s  {cell.key}" for cell in cells]
    names = list(dict.fromkeys(cell.section for cell in cells))
    for name in names:
        own = [cell.estimate for cell in cells if cell.section == name]
        lines.append(f"{sum(own):7.1f} s  {name}: {len(own)} cells")
    lines.append(f"{sum(c.estimate for c in cells):7.1f} s  all {len(cells)} cells, limit {limit:.0f} s")
    return "\n".join(lines) + "\n"


def _guarded(ctx: Context, cell: Cell) -> list[Row]:
    """The rows of a cell, whatever happens in it, Ctrl-C excepted."""
    blank = Row(section=cell.section, op=cell.op, shape=dict(cell.params), device=ctx.device.kind)
    try:
        rows = load(cell.section).run(ctx, cell)
        return rows or [blank.as_skipped("nothing to measure here")]
    except Unsupported as reason:
        return [blank.as_skipped(str(reason))]
    except Exception as error:  # one cell's trouble must not cost the others
        short = " ".join(str(error).split())[:300]
        what = "out of memory" if is_memory(error) else type(error).__name__
        return [blank.as_failed(f"{what}: {short}")]


def _still_there(device: Device) -> str:
    """Why the device cannot go on, or nothing: after some faults CUDA refuses everything until the process ends."""
    try:
        device.release()
        device.synchronize()
        device.torch.ones(4, device=device.name).sum().item()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def run_cells(
    ctx: Context,
    cells: Sequence[Cell],
    limit: float,
    progress: Callable[[float, str], None] = lambda share, text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run what is not in the file yet. A cell whose estimate exceeds the time left is left for the next run.

    OSError if the file cannot be written: what was saved before is whole.
    """
    file = ctx.file
    if file is None:
        raise ValueError("a capture needs a file")
    outcome = Outcome()
    begun = clock()
    done = set(file.done)
    todo = [cell for cell in cells if cell.key not in done]
    outcome.resumed = len(cells) - len(todo)
    file.save()  # a disk that cannot be written is better known now than in eight minutes
    total = sum(cell.estimate for cell in todo) or 1.0
    passed = 0.0
    try:
        for cell in todo:
            passed += cell.estimate
            if clock() - begun + cell.estimate > limit:
                outcome.left.append(cell.key)
                continue
            progress((passed - cell.estimate) / total, cell.key)
            ctx.rng = ctx.fresh(cell.key)
            rows = _guarded(ctx, cell)
            if any(row.error for row in rows):
                outcome.failed.append(f"{cell.key}: {next(row.error for row in rows if row.error)}")
                outcome.lost = _still_there(ctx.device)
            else:
                outcome.done += 1
            outcome.skipped += [f"{cell.key}: {row.skipped}" for row in rows if row.skipped]
            file.record(cell.key, rows)
            if ctx.is_cuda:
                ctx.device.release()
            if outcome.lost:
                break
    finally:
        file.save()
    return outcome
