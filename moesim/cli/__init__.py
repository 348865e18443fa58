"""The `moesim` command. Commands are imported when they are called, so that `moesim --help` stays fast.

Exit codes: 0 fine, 2 usage or input error, 1 failure. Results go to stdout, everything else to stderr. The last line of
every error is the command to try next.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from moesim.errors import InputError, MissingExtra, MoesimError

__all__ = ["COMMANDS", "app", "main"]

# name -> (module with an `app` or a function of that name, panel, help line). One line here is all a new command needs.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "run": ("moesim.cli.run", "Ask", "Simulate a scenario."),
    "report": ("moesim.cli.report", "Understand", "Write the page of a run."),
    "calibrate": ("moesim.cli.calibrate", "Measure", "Time a live device; show what was measured."),
    "scenario": ("moesim.cli.scenario", "Look up", "List, show and check scenarios; print their JSON Schema."),
    "bench": ("moesim.cli.bench", "Keep well", "Measure moesim itself."),
}

_VERBS = {"scenario": ("list", "show", "check", "schema"), "calibrate": ("capture", "show")}

_BARE = """\
moesim: how fast does a Mixture-of-Experts model run on this machine, and what would change it?
  moesim run quickstart            simulate a shipped scenario
  moesim scenario list             what is shipped
  moesim scenario show quickstart  a scenario in full, with the source of every number
  moesim --help                    all commands"""

# typer carries click inside since 0.20 and beside before: its own names lead to the classes in both
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


class _LazyGroup(typer.core.TyperGroup):
    """Imports a command when it is called, and lists all of them without importing any."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        return typer.main.get_command(module.app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from moesim.errors import Fault, nearest

            raise InputError(
                Fault(
                    message="no such command",
                    got=args[0],
                    allowed=" | ".join(COMMANDS),
                    nearest=nearest(args[0], COMMANDS),
                )
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, (_, panel, line) in COMMANDS.items():
            panels.setdefault(panel, []).append((name, line))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(cls=_LazyGroup, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def moesim(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """A discrete-event simulator of Mixture-of-Experts inference with a timed expert cache."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"moesim {installed('moesim')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(_BARE)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. User errors become text on stderr, never a traceback."""
    args = sys.argv[1:] if argv is None else argv
    try:
        code = typer.main.get_command(app).main(args=args, prog_name="moesim", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except MoesimError as error:
        return _say(str(error), _next(error, args), error.exit_code)
    except _UsageError as error:
        return _say(getattr(error, "format_message", error.__str__)(), f"{_called(args)} --help", 2)
    except _ClickError as error:
        return _say(getattr(error, "format_message", error.__str__)(), f"{_called(args)} --help", 1)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", " ".join(["moesim", *args]), 1)
    except BrokenPipeError:
        # the reader (`| head`) has gone; so that Python does not complain again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        said = f"not enough memory for this scenario ({error})" if str(error) else "not enough memory for this scenario"
        return _say(f"{said}: fewer workload.sequences or tokens need less", f"{_called(args)} --help", 1)
    except OSError as error:
        # a full disk, a folder that may not be written: what was being written is gone, what was there before is not
        return _say(f"{error.filename or 'output'}: {error.strerror or error}", f"{_called(args)} --help", 1)


def _say(text: str, command: str, code: int) -> int:
    sys.stderr.write(f"{text}\ntry: {command}\n")
    return code


def _called(args: list[str]) -> str:
    words = [word for word in args[:2] if not word.startswith("-")]
    known = words[:1] if words and words[0] in COMMANDS else []
    if len(words) == 2 and words[1] in _VERBS.get(words[0], ()):
        known = words
    return " ".join(["moesim", *known])


def _next(error: MoesimError, args: list[str]) -> str:
    """The command most likely to help after an error."""
    if isinstance(error, MissingExtra):
        return f"pip install 'moesim[{error.extra}]'"
    if not isinstance(error, InputError) or not args or args[0] not in COMMANDS:
        return f"{_called(args)} --help"
    if any(fault.field in ("scenario", "name") and not fault.line for fault in error.faults):
        return "moesim scenario list"
    if args[0] == "calibrate" or any(fault.field == "output" for fault in error.faults):
        return f"{_called(args)} --help"
    if args[0] == "report":
        return "moesim run quickstart"
    if args[0] == "scenario":
        return "moesim scenario schema   (every field and what it allows)"
    return f"moesim scenario check {next((word for word in args[1:] if not word.startswith('-')), '')}".rstrip()
