"""The sections by name, in the order in which they run. Adding one takes a line here and a module."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from moesim.calibrate.capture.context import Section
from moesim.errors import Fault, InputError, nearest

__all__ = ["SECTIONS", "chosen", "load", "present"]

_HOME = "moesim.calibrate.capture"
SECTIONS: dict[str, str] = {
    name: f"{_HOME}.{name}"
    for name in ("launch", "copies", "memory", "executor", "experts", "attention", "profiler", "host", "storage")
}
"""Name -> module or package with `plan(ctx)` and `run(ctx, cell)`; imported when it is first needed."""


def present() -> list[str]:
    """Names of the sections that are there."""
    return [name for name, module in SECTIONS.items() if find_spec(module) is not None]


def chosen(only: Iterable[str]) -> list[str]:
    """`only` in running order, or all; InputError for a name that is none."""
    names, wanted = present(), list(only)
    faults = [
        Fault(field="--only", message="no such section", got=w, allowed=" | ".join(names), nearest=nearest(w, names))
        for w in wanted
        if w not in names
    ]
    if faults:
        raise InputError(*faults)
    return [name for name in names if not wanted or name in wanted]


def load(name: str) -> Section:
    """The section's module."""
    return cast(Section, import_module(SECTIONS[name]))
