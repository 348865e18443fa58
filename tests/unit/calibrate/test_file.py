"""Rows and the file: round trip, resuming, refusing, and staying whole when the disk is full."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from moesim.calibrate.capture.file import CaptureFile, settings_hash
from moesim.calibrate.capture.rows import Cell, Row
from moesim.errors import InputError

SETTINGS = {"kit": 1, "device": "cpu", "quick": True, "seed": 0}
HERE = {"device": "cpu", "name": "x", "torch": "2", "cpu": "x"}
ROW = Row(
    section="copies", op="h2d", shape={"size": 4096}, dtype="uint8", bytes=4096, seconds=(1e-5, 1.5e-5),
    method="pinned", device="cuda", error_vs_float64=0.0,
)  # fmt: skip


def test_rows_survive_the_round_trip() -> None:
    for row in (ROW, ROW.as_skipped("does not fit"), ROW.as_failed("wrong output"), ROW.but(detail={"a": [1, 2]})):
        assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_a_failed_row_keeps_its_samples_and_a_skipped_one_has_none() -> None:
    assert ROW.as_failed("wrong").seconds == ROW.seconds and not ROW.as_failed("wrong").ok
    with pytest.raises(ValueError, match="does not fit"):
        _ = ROW.as_skipped("does not fit").median


def test_unknown_and_missing_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown fields colour"):
        Row.from_json({"section": "a", "op": "b", "colour": 1})
    with pytest.raises(ValueError, match="missing fields op"):
        Row.from_json({"section": "a"})


def test_keys_tell_cells_apart() -> None:
    assert Cell(section="a", op="b", params={"n": 1}).key != Cell(section="a", op="b", params={"n": 2}).key


def test_resume_has_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.json.gz"
    file = CaptureFile.resume(path, SETTINGS, HERE)
    file.record("one", [ROW])
    file.record("two", [ROW.as_failed("out of memory")])
    file.save()
    again = CaptureFile.resume(path, SETTINGS, HERE)
    assert again.done == ["one"]
    assert again.rows == [ROW.but(cell="one"), ROW.as_failed("out of memory").but(cell="two")]
    again.record("two", [ROW, ROW])
    assert [row.cell for row in again.rows] == ["one", "two", "two"] and again.done == ["one", "two"]
    assert [p.name for p in path.parent.iterdir()] == ["c.json.gz"]


def test_the_same_capture_is_the_same_bytes() -> None:
    a, b = CaptureFile(Path("a"), SETTINGS, HERE), CaptureFile(Path("b"), SETTINGS, HERE)
    assert a.to_bytes() == b.to_bytes()
    assert set(json.loads(gzip.decompress(a.to_bytes()))) == {"format", "fingerprint", "settings", "rows", "done"}


def test_another_capture_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "c.gz"
    CaptureFile(path, SETTINGS, HERE).save()
    with pytest.raises(InputError, match=r"other settings: seed 0 there, 1 now"):
        CaptureFile.resume(path, {**SETTINGS, "seed": 1}, HERE)
    with pytest.raises(InputError, match=r"another name: 'x' there, 'y' here"):
        CaptureFile.resume(path, SETTINGS, {**HERE, "name": "y"})
    assert settings_hash(SETTINGS) == settings_hash(dict(reversed(SETTINGS.items())))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"{"), gzip.compress(b'{"format": 1}'), gzip.compress(b"[]")],
    # gzip writes the time into its bytes: as names they would differ from one test process to the next
    ids=["empty", "text", "no-json", "no-rows", "a-list"],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a capture"):
        CaptureFile.resume(path, SETTINGS, HERE)
    assert path.read_bytes() == content


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.gz"
    file = CaptureFile(path, SETTINGS, HERE)
    path.write_bytes(file.to_bytes()[:-9])
    with pytest.raises(InputError, match="not a capture"):
        CaptureFile.read(path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.gz"
    path.write_bytes(gzip.compress(b'{"format": 2}'))
    with pytest.raises(InputError, match="format: got 2, allowed 1"):
        CaptureFile.read(path)


def test_a_failing_write_leaves_the_last_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.gz"
    file = CaptureFile(path, SETTINGS, HERE)
    file.record("one", [ROW])
    file.save()
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file._due = 0.0
    with pytest.raises(OSError, match="No space left"):
        file.record("two", [ROW])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c.gz"]
    monkeypatch.undo()
    file.save()
    assert CaptureFile.read(path).done == ["one", "two"]
