"""`capture` as a command, whichever front door it came through: the plan, the run, what is said about it."""

from __future__ import annotations

from typing import IO

from moesim.calibrate.capture.runner import Options, Outcome, Progress, begin, describe, plan, run_cells
from moesim.calibrate.capture.sections import chosen
from moesim.errors import Fault, InputError

__all__ = ["DESCRIPTION", "HELP", "command"]

DESCRIPTION = "Time a live device: copies, launches, memory, experts, attention, host, storage. Resumable."
HELP = {
    "output": "The capture, gzipped JSON (CAPTURE.json.gz). If it exists, the capture in it goes on.",
    "device": "cuda, cuda:1, cpu, ... as torch names it; cuda if there is one.",
    "minutes": "Wall time for the cells; 8, or 3 with --quick. What is left over is done by the next call.",
    "quick": "The small plan, for two CPU cores or a first look.",
    "only": "One section; may be repeated.",
    "plan": "Print what would run and how long, and stop.",
    "path": "A file, or a folder for a scratch file, on the storage to be read.",
    "seed": "Of all random data.",
}


def command(options: Options, *, only_plan: bool, out: IO[str], talk: IO[str]) -> int:
    """Run a capture (or print its plan); returns the exit code. MoesimError for bad input."""
    chosen(options.only)
    if only_plan:
        ctx = begin(Options(**{**vars(options), "output": None}))
        out.write(describe(plan(ctx, options.only), options.limit))
        return 0
    if options.output is None:
        raise InputError(Fault(field="-o", message="where should the capture go?", allowed="a file, *.json.gz"))
    if options.output.is_dir():
        raise InputError(Fault(field="-o", message="that is a folder", got=str(options.output), allowed="a file"))
    ctx = begin(options)
    progress = Progress(talk)
    again = "the file is whole; the same command goes on from there"
    try:
        outcome = run_cells(ctx, plan(ctx, options.only), options.limit, progress)
    except KeyboardInterrupt:
        progress.clear()
        talk.write(f"interrupted: {again}\n")
        return 1
    except OSError as error:
        progress.clear()
        reason = error.strerror or str(error)
        talk.write(f"{options.output}: {reason}: what was saved before is whole; make room and run the same command\n")
        return 1
    progress.clear()
    _say(outcome, options, talk, again)
    out.write(f"{options.output}\n")
    return 1 if outcome.failed or outcome.lost else 0


def _say(outcome: Outcome, options: Options, talk: IO[str], again: str) -> None:
    resumed = f", {outcome.resumed} were there" if outcome.resumed else ""
    talk.write(f"{outcome.done} cells done{resumed}\n")
    for word, said in (("skipped", outcome.skipped), ("failed", outcome.failed)):
        items = list(dict.fromkeys(said))
        for item in items[:12]:
            talk.write(f"{word} {item}\n")
        if len(items) > 12:
            talk.write(f"{word} {len(items) - 12} more, see `moesim calibrate show`\n")
    if outcome.left:
        talk.write(f"{len(outcome.left)} cells left, {options.limit / 60:g} minutes are over: {again}\n")
    if outcome.lost:
        talk.write(f"the device answers no more ({outcome.lost}): {again}\n")
