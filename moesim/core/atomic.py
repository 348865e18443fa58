"""Write, then rename: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moesim.errors import Fault, InputError

__all__ = ["check_target", "new_folder", "write_bytes", "write_text"]


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step; on failure the old file stays and no scrap is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scrap = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes private files; results are meant to be shared under the user's own umask
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scrap, 0o666 & ~umask)
        os.replace(scrap, path)
    except BaseException:
        Path(scrap).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def check_target(path: Path, marks: tuple[str, ...]) -> None:
    """Whether `new_folder` may take this name: nothing stands there, or an empty folder, or one with all of `marks`.

    `marks`: files that every folder of the kind has. Anything else, a file or a folder of the user's own, would be
    lost when the new folder replaces it. Raises InputError.
    """
    if not path.exists():
        return
    if path.is_dir() and (not any(path.iterdir()) or all((path / mark).is_file() for mark in marks)):
        return
    what = "a folder with other things in it" if path.is_dir() else "a file"
    allowed = f"a new name, an empty folder, or one with {' and '.join(marks)} in it, which is replaced"
    raise InputError(Fault(message=f"{what} stands there", field="output", got=str(path), allowed=allowed))


@contextmanager
def new_folder(path: Path, marks: tuple[str, ...]) -> Iterator[Path]:
    """A scratch folder beside `path` that takes its name when the block ends well, replacing an older one.

    If the block raises, the scratch folder goes and `path` stays as it was. Raises InputError as `check_target` does.
    """
    check_target(path, marks)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield scratch
        umask = os.umask(0)
        os.umask(umask)
        scratch.chmod(0o777 & ~umask)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            os.replace(path, old / path.name)
            os.replace(scratch, path)
            shutil.rmtree(old)
        else:
            os.replace(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
