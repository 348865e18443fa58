"""`python -m moesim.calibrate.capture`: the kit where only Python, numpy and torch are installed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moesim.calibrate.capture.command import DESCRIPTION, HELP, command
from moesim.calibrate.capture.runner import Options
from moesim.errors import MoesimError

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the kit; returns the exit code: 0 fine, 1 something failed, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m moesim.calibrate.capture", description=DESCRIPTION)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=HELP["output"])
    parser.add_argument("--device", default="", help=HELP["device"])
    parser.add_argument("--minutes", type=float, default=None, help=HELP["minutes"])
    parser.add_argument("--quick", action="store_true", help=HELP["quick"])
    parser.add_argument("--only", action="append", default=[], metavar="SECTION", help=HELP["only"])
    parser.add_argument("--plan", action="store_true", help=HELP["plan"])
    parser.add_argument("--path", type=Path, default=None, help=HELP["path"])
    parser.add_argument("--seed", type=int, default=0, help=HELP["seed"])
    said = parser.parse_args(argv)
    options = Options(
        output=said.output, device=said.device, minutes=said.minutes, quick=said.quick, only=tuple(said.only),
        path=said.path, seed=said.seed,
    )  # fmt: skip
    try:
        return command(options, only_plan=said.plan, out=sys.stdout, talk=sys.stderr)
    except MoesimError as error:
        sys.stderr.write(f"{error}\ntry: {parser.prog} --help\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
