"""Profiles by name: machines, their parts, and scenarios.

Looked for, in this order: a path; ``./hw_profiles`` (``./scenarios``); every folder of ``$MOESIM_PROFILE_PATH``; the
user's own folder; what is packaged with moesim; the checkout that moesim was imported from. A name may be loose:
``rtx4090`` and ``RTX 4090`` mean ``rtx-4090-desktop`` as long as no other name begins so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from moesim.errors import Fault, InputError, nearest

__all__ = ["KINDS", "PARTS", "find", "folders", "names"]

PARTS = ("accelerator", "host", "storage", "link", "runtime")
KINDS = ("machine", "scenario", *PARTS)
_PACKAGE = Path(__file__).resolve().parents[1]
_SHORTEST_LOOSE_NAME = 3


def folders(kind: str = "machine") -> tuple[Path, ...]:
    """The folders that may hold profiles of a kind, first one first; they need not exist."""
    from platformdirs import user_config_path

    home = "scenarios" if kind == "scenario" else "hw_profiles"
    own = os.environ.get("MOESIM_PROFILE_PATH", "")
    roots = [
        Path.cwd() / home,
        *(Path(folder).expanduser() for folder in own.split(os.pathsep) if folder),
        user_config_path("moesim") / home,
        _PACKAGE / "_data" / home,
        _PACKAGE.parent / home,
    ]
    return tuple(dict.fromkeys(root / "parts" / kind if kind in PARTS else root for root in roots))


def names(kind: str = "machine", *, first: Path | None = None) -> dict[str, Path]:
    """Every known name of a kind and its file; of files with one name the first found counts."""
    found: dict[str, Path] = {}
    for folder in ([first] if first else []) + list(folders(kind)):
        for path in _files(folder, kind):
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def find(name: str, kind: str = "machine", *, first: Path | None = None) -> Path:
    """The file of a profile by path or by name. `first`: a folder that comes before all others.

    Raises InputError: an unknown name (all known ones and the nearest are listed), a loose name that fits several, a
    path without a file.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}: got {kind!r}")
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml") or path.is_absolute():
        if path.is_file():
            return path
        message = "is a folder, not a file" if path.is_dir() else "no such file"
        beside = [str(other) for other in _files(path.parent, "") if other.is_file()]
        raise InputError(Fault(message=message, field=kind, got=name, nearest=nearest(str(path), beside)))
    known = names(kind, first=first)
    if name in known:
        return known[name]
    loose = {n: _squeeze(n) for n in known}
    wanted = _squeeze(name)
    fits = [n for n in known if loose[n] == wanted or _squeeze(Path(n).name) == wanted]
    if not fits and len(wanted) >= _SHORTEST_LOOSE_NAME:
        fits = [n for n in known if loose[n].startswith(wanted)]
    if len(fits) == 1:
        return known[fits[0]]
    allowed = " | ".join(fits or known) or f"nothing: no {kind} was found in {', '.join(map(str, folders(kind)))}"
    message = f"fits several {kind}s" if fits else f"unknown {kind}"
    if not fits and path.exists():
        message += ", and " + ("a folder is none" if path.is_dir() else "a path to one ends in .yaml")
    raise InputError(Fault(message=message, field=kind, got=name, allowed=allowed, nearest=_nearest(name, known)))


def _files(folder: Path, kind: str) -> Iterator[Path]:
    """YAML files of a folder, sorted; scenarios may lie in subfolders."""
    if folder.is_dir():
        yield from sorted(folder.rglob("*.yaml") if kind == "scenario" else folder.glob("*.yaml"))


def _squeeze(name: str) -> str:
    """Letters and digits only, in lower case."""
    return "".join(c for c in name.lower() if c.isalnum())


def _nearest(name: str, known: dict[str, Path]) -> str:
    by_squeezed = {_squeeze(n): n for n in known}
    return nearest(name, known) or by_squeezed.get(nearest(_squeeze(name), by_squeezed), "")
