"""`moesim report RUN`."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.cli import main
from moesim.engine.reference import simulate
from moesim.results.folder import save
from tests.support.toy import toy_info, toy_plan


def test_the_page_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = toy_plan(layers=2, decode=2)
    folder = save(simulate(plan), plan, toy_info(), tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert main(["report", str(folder), "-o", str(tmp_path / "other" / "page.html")]) == 0
    assert (tmp_path / "other" / "page.html").read_bytes() == (folder / "report.html").read_bytes()


def test_what_is_no_run_is_refused_with_the_command_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "not a run folder: no manifest.json in it" in said.err
    assert said.err.splitlines()[-1] == "try: moesim run quickstart"
    assert list(tmp_path.iterdir()) == []
