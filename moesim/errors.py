"""Every error this package raises on purpose.

The tree::

    MoesimError
    |-- InputError          bad user input: one or more `Fault`s, all reported at once (exit code 2)
    |-- MissingExtra        an optional dependency is not installed (exit code 2)
    |-- InvariantError      a result breaks a conservation law: a fault of moesim itself (exit code 1)
    |-- StuckError          the simulation cannot go on: a fault of moesim or of a user's policy (exit code 1)

Every exception survives ``type(e)(*e.args)``, because SimPy rebuilds failed events that way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

__all__ = ["Fault", "InputError", "InvariantError", "MissingExtra", "MoesimError", "StuckError", "nearest"]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The allowed name most like `name`, or an empty string if none is near."""
    names = list(allowed)
    found = get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.55)
    return next((n for n in names if found and n.lower() == found[0]), "")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with the input: where, what was got, what is allowed, the nearest valid value."""

    message: str = ""
    field: str = ""
    got: Any = None
    allowed: str = ""
    nearest: str = ""
    file: str = ""
    line: int = 0
    col: int = 0

    def located(self, file: str, line: int, col: int) -> Fault:
        """The same fault at a place in a file (lines and columns count from 1)."""
        return replace(self, file=file, line=line, col=col)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line or "", self.col or "") if part != "")
        said = [self.message] if self.message else []
        if self.got is not None:
            said.append(f"got {self.got!r}" if not isinstance(self.got, str) else f'got "{self.got}"')
        if self.allowed:
            said.append(f"allowed {self.allowed}")
        if self.nearest:
            said.append(f"nearest {self.nearest}")
        return ": ".join(part for part in (place, self.field, ", ".join(said)) if part)


class MoesimError(Exception):
    """Base class of every error raised on purpose."""

    exit_code = 1


class InputError(MoesimError):
    """Bad input. `faults` holds all of them, sorted by place; the text has one line for each.

    >>> print(InputError(Fault(field="model.top_k", got=9, allowed="1 to 8")))
    model.top_k: got 9, allowed 1 to 8
    """

    exit_code = 2

    def __init__(self, *faults: Fault | str) -> None:
        super().__init__(*faults)
        made = (f if isinstance(f, Fault) else Fault(message=f) for f in faults)
        self.faults: tuple[Fault, ...] = tuple(sorted(made, key=lambda f: (f.file, f.line, f.col)))

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class MissingExtra(MoesimError):
    """A feature needs an optional dependency: says which, and the pip command that brings it."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package, self.extra = package, extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: pip install 'moesim[{self.extra}]'"


class InvariantError(MoesimError):
    """A result breaks a conservation law of the execution model."""


class StuckError(MoesimError):
    """Nothing is left that could happen, yet the run is not over."""
