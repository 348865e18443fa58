"""`moesim report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: moesim report runs/quickstart")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `moesim run` writes it.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where the page goes; RUN/report.html if left out.")
    ] = None,
) -> None:
    """Write the page of a run: one self-contained HTML file. Prints its path."""
    from moesim.report import write_report

    typer.echo(write_report(run, output))
