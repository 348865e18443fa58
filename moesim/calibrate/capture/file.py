"""A capture on disk: gzipped JSON, whole at any moment, resumable.

`{format: 1, fingerprint, settings, rows, done}`. It is rewritten beside itself and renamed after each cell (less often
when writing takes long), so that a kill, a full disk or Ctrl-C leaves the last whole file.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moesim.calibrate.capture.rows import Row
from moesim.errors import Fault, InputError

__all__ = ["FORMAT", "CaptureFile", "settings_hash"]

FORMAT = 1
_SAME_DEVICE = ("device", "name", "torch", "cpu")  # what of the fingerprint must agree when a capture goes on


def settings_hash(settings: Mapping[str, Any]) -> str:
    """A name for settings: two captures with the same may be joined."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]


class CaptureFile:
    """Rows and finished cells of one capture. Nothing is read or written before `read`, `resume` or `save`.

    A cell with a failed row is not done: a resumed capture tries it again and its new rows take the old ones' place.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.fingerprint = dict(fingerprint)
        self.rows: list[Row] = []
        self.done: list[str] = []
        self._due = 0.0
        self._unsaved = True

    @classmethod
    def read(cls, path: Path) -> CaptureFile:
        """A capture as it was written; InputError if the file is not one."""
        try:
            with gzip.open(path) as file:
                data = json.load(file)
        except FileNotFoundError:
            raise InputError(Fault(field="file", message="no such file", got=str(path))) from None
        except (EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(Fault(file=str(path), message=f"not a capture ({error})")) from None
        try:
            if data["format"] != FORMAT:
                raise InputError(Fault(file=str(path), field="format", got=data["format"], allowed=str(FORMAT)))
            made = cls(path, data["settings"], data["fingerprint"])
            made.rows = [Row.from_json(row) for row in data["rows"]]
            made.done = [str(key) for key in data["done"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(Fault(file=str(path), message=f"not a capture ({error!r})")) from None
        return made

    @classmethod
    def resume(cls, path: Path, settings: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> CaptureFile:
        """The capture at `path` to go on with, or a new one; InputError if the file there is of another capture."""
        if not path.exists():
            return cls(path, settings, fingerprint)
        old = cls.read(path)
        if settings_hash(old.settings) != settings_hash(settings):
            names = sorted({*old.settings, *settings})
            other = [n for n in names if old.settings.get(n) != settings.get(n)]
            said = ", ".join(f"{n} {old.settings.get(n)!r} there, {settings.get(n)!r} now" for n in other)
            raise InputError(Fault(file=str(path), message=f"the file holds a capture with other settings: {said}"))
        for name in _SAME_DEVICE:
            if old.fingerprint.get(name) != fingerprint.get(name):
                said = f"{old.fingerprint.get(name)!r} there, {fingerprint.get(name)!r} here"
                raise InputError(Fault(file=str(path), message=f"the file holds a capture of another {name}: {said}"))
        return old

    def record(self, key: str, rows: Sequence[Row]) -> None:
        """Take the rows of a cell, in place of what an earlier try left, and save if it is time to."""
        self.rows = [row for row in self.rows if row.cell != key]
        self.rows += [row.but(cell=key) for row in rows]
        if key in self.done:
            self.done.remove(key)
        if not any(row.error for row in rows):
            self.done.append(key)
        self._unsaved = True
        if time.monotonic() >= self._due:
            self.save()

    def to_bytes(self) -> bytes:
        """The file's content; the same capture gives the same bytes."""
        data = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "rows": [row.to_json() for row in self.rows],
            "done": self.done,
        }
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        return gzip.compress(text.encode(), compresslevel=6, mtime=0)

    def save(self) -> None:
        """Write beside, then rename. OSError (disk full) leaves the file that was there."""
        if not self._unsaved:
            return
        begun = time.monotonic()
        # a fixed name: what a kill left behind is overwritten by the next save instead of lying there for ever
        part = self.path.with_name(f".{self.path.name}.part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(self.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        ended = time.monotonic()
        self._due = ended + 5 * (ended - begun)
        self._unsaved = False
