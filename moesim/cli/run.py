"""`moesim run SCENARIO`: simulate, print the table, write the run folder and its page."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moesim.engine.run import Run

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="SCENARIO", help="A shipped name or a path.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default runs/NAME.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Short for --set seed=N.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field; may be repeated.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Verify the conservation laws of the result.")] = False,
    no_page: Annotated[bool, typer.Option("--no-page", help="Do not write report.html.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no talk on stderr.")] = False,
) -> None:
    """Simulate a scenario. Prints the figures; writes a run folder with tables, timeline and page.

    Example: moesim run mixtral-rtx4090 --set expert_cache.eviction=lfu -o runs/lfu
    """
    from moesim.engine.run import simulate
    from moesim.report.run import write_report
    from moesim.results.folder import check_target
    from moesim.results.manifest import environment
    from moesim.scenario.load import load

    begun = time.perf_counter()
    changes = list(set_ or []) + ([f"seed={seed}"] if seed is not None else [])
    scenario = load(name, set=changes)
    folder = output if output is not None else Path("runs") / scenario.name
    check_target(folder)  # before the simulation, which may take hours
    with _Progress(quiet) as progress:
        done = simulate(scenario, progress=progress, check=check)
    made = environment(sys.argv, wall_s=time.perf_counter() - begun)
    done.save(folder, environment=made, finish=None if no_page else write_report)
    if json_:
        sys.stdout.write(json.dumps(done.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        sys.stdout.write(_table(done))
    if not quiet:
        page = "" if no_page else f", page {folder / 'report.html'}"
        sys.stderr.write(f"wrote {folder}{page} ({time.perf_counter() - begun:.1f} s)\n")


class _Progress:
    """A bar on stderr for runs that take a while, on terminals only."""

    def __init__(self, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._begun = time.monotonic()
        self._last = self._begun
        self._drawn = False

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, done: int, steps: int) -> None:
        now = time.monotonic()
        if not self._shown or now - self._begun < 1 or (now - self._last < 0.1 and done < steps):
            return
        self._last, self._drawn = now, True
        width = 30
        left = (now - self._begun) * (steps - done) / done
        bar = "#" * (width * done // steps)
        sys.stderr.write(f"\r[{bar:<{width}}] step {done} of {steps}, {left:.0f} s left ")
        sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")


def _table(done: Run) -> str:
    """The figures people ask for first, one a line."""
    figures = done.summary
    tpot = figures["tpot_ms"] or {}

    def show(value: Any, form: str, unit: str = "") -> str:
        return "-" if value is None else f"{value:{form}}{unit}"

    def share(value: Any) -> str:
        return "-" if value is None else f"{100 * value:.2f} %"

    rows = [
        ("scenario", done.info.title),
        ("routing", done.info.routing),
        ("tokens", show(figures["tokens"], ",")),
        ("throughput", show(figures["tokens_per_s"], ".2f", " tokens/s")),
        ("time to first token", show(figures["ttft_ms"], ",.1f", " ms")),
        (
            "time per output token",
            f"mean {show(tpot.get('mean'), ',.2f', ' ms')}, p95 {show(tpot.get('p95'), ',.2f', ' ms')}",
        ),
        ("hit rate", f"{share(figures['hit_rate'])} (decode {share(figures['hit_rate_decode'])})"),
        (
            "lookups",
            f"{figures['lookups']:,}: {figures['hits']:,} hits, {figures['late']:,} late, {figures['misses']:,} misses",
        ),
        ("bytes loaded", f"{figures['bytes_loaded'] / 1e9:,.2f} GB, {figures['bytes_wasted'] / 1e9:,.2f} GB wasted"),
        ("link busy", share(figures["link_utilization"])),
        ("compute busy", share(figures["compute_utilization"])),
    ]
    if figures.get("storage_utilization") is not None:
        rows.append(("storage busy", share(figures["storage_utilization"])))
    parts = figures["breakdown_ms"] or {}
    total = sum(parts.values()) or 1
    main = sorted(((v, k) for k, v in parts.items() if v), reverse=True)
    if main:
        whose = "a token's time" if done.scenario.workload.batch_size == 1 else "a decode step's time"
        rows.append((whose, ", ".join(f"{k} {100 * v / total:.0f} %" for v, k in main[:6])))
    rows += [("note", note) for note in done.info.notes]
    width = max(len(label) for label, _ in rows) + 2
    return "".join(f"{label:<{width}}{text}\n" for label, text in rows)
