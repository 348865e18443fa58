"""`moesim bench`: speed of moesim itself, as ratios within one run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moesim.bench.rows import Row

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: moesim bench --quick")
def bench(
    json_: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if a ratio is below half of its target.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller runs, fewer rounds: noisier.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Do not say on stderr what is being measured.")] = False,
) -> None:
    """Measure moesim: against a textbook SimPy model, growth with size, limits on time. Larger ratios are better."""
    from moesim.bench.rows import measure

    def say(what: str) -> None:
        if not quiet:
            sys.stderr.write(f"measuring {what} ...\n")

    rows: list[Row] = []
    for row in measure(quick=quick, say=say):
        rows.append(row)
        if not json_:
            sys.stdout.write(_line(row))
            sys.stdout.flush()
    if json_:
        sys.stdout.write(json.dumps([row.to_json() for row in rows], indent=2, allow_nan=False) + "\n")
    failed = [row.name for row in rows if row.failed]
    if check and failed:
        sys.stderr.write("".join(f"below half of its target: {name}\n" for name in failed) + "try: moesim bench\n")
        raise typer.Exit(1)


def _line(row: Row) -> str:
    """One row for people."""
    goal = "" if row.target is None else f"  target {row.target:g}: {'met' if row.met else 'unmet'}"
    return f"{row.name}\n    {row.value:,.3f} {row.unit} against {row.against:,.3f}: ratio {row.ratio:.2f}{goal}\n"
