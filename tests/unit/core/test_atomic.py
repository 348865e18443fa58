"""Writing in one step: what was there stays or is replaced whole, and nothing of the user's own is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.core.atomic import new_folder, write_bytes, write_text
from moesim.errors import InputError


def test_a_file_is_replaced_and_no_scrap_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_a_folder_takes_its_name_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for text in ("one", "two"):
        with new_folder(path, ("mark",)) as scratch:
            (scratch / "mark").write_text(text)
            (scratch / text).write_text("")
    assert sorted(file.name for file in path.iterdir()) == ["mark", "two"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with new_folder(path, ("mark",)) as scratch:
        (scratch / "mark").write_text("old")
    with pytest.raises(RuntimeError, match="no"), new_folder(path, ("mark",)) as scratch:
        (scratch / "mark").write_text("new")
        raise RuntimeError("no")
    assert (path / "mark").read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with new_folder(tmp_path / "run", ("mark",)) as scratch:
        (scratch / "mark").write_text("")
    assert (tmp_path / "run" / "mark").is_file()


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_the_users_own_is_refused(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "mine"
    own = path / "thesis.tex" if folder else path
    own.parent.mkdir(exist_ok=True)
    own.write_text("years of work")
    said = "folder with other things" if folder else "a file stands"
    with pytest.raises(InputError, match=said), new_folder(path, ("mark",)):
        pytest.fail("the block must not begin")
    assert own.read_text() == "years of work" and list(tmp_path.iterdir()) == [path]
