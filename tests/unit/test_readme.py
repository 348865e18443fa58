"""Every command and snippet of the README runs."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from moesim.cli import main

README = Path(__file__).resolve().parents[2] / "README.md"


def _commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("moesim ")]


def test_snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried >= 12 and not failed
    assert (tmp_path / "runs/from-python/report.html").stat().st_size > 100_000


def test_the_readme_has_commands() -> None:
    assert len(_commands()) >= 4


@pytest.mark.parametrize("command", _commands())
def test_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(shlex.split(command)[1:])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out
