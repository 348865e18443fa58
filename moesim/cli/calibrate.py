"""`moesim calibrate`: capture a device, show a capture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from moesim.calibrate.capture.command import DESCRIPTION, HELP
from moesim.calibrate.capture.command import command as run
from moesim.calibrate.capture.runner import Options

__all__ = ["app"]

app = typer.Typer(
    help="Measure a live device and look at what was measured.",
    no_args_is_help=False,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def calibrate(ctx: typer.Context) -> None:
    """Measure a live device and look at what was measured."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command(help=DESCRIPTION, epilog="Example: moesim calibrate capture --quick -o capture.json.gz")
def capture(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help=HELP["output"])] = None,
    device: Annotated[str, typer.Option("--device", help=HELP["device"], show_default=False)] = "",
    minutes: Annotated[float | None, typer.Option("--minutes", help=HELP["minutes"])] = None,
    quick: Annotated[bool, typer.Option("--quick", help=HELP["quick"])] = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="SECTION", help=HELP["only"])] = None,
    plan: Annotated[bool, typer.Option("--plan", help=HELP["plan"])] = False,
    path: Annotated[Path | None, typer.Option("--path", help=HELP["path"])] = None,
    seed: Annotated[int, typer.Option("--seed", help=HELP["seed"])] = 0,
) -> int:
    """Time a live device."""
    options = Options(
        output=output, device=device, minutes=minutes, quick=quick, only=tuple(only or ()), path=path, seed=seed
    )
    return run(options, only_plan=plan, out=sys.stdout, talk=sys.stderr)


@app.command(epilog="Example: moesim calibrate show capture.json.gz -o capture.html")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A capture.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PAGE", help="Write a page with figures as well.")
    ] = None,
) -> None:
    """Print a capture's tables; with -o also write a page that plots copies and experts against size."""
    from moesim.calibrate.capture.file import CaptureFile
    from moesim.calibrate.show import text

    found = CaptureFile.read(file)
    typer.echo(text(found), nl=False)
    if output is not None:
        from moesim.calibrate.page import write

        typer.echo(f"wrote {write(found, output)}", err=True)
