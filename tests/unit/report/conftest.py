"""A toy run's folder for all tests of pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.engine.reference import simulate
from moesim.results.folder import RunData, read, save
from tests.support.toy import toy_info, toy_plan


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = toy_plan(layers=6, decode=10)
    return save(simulate(plan), plan, toy_info(), tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(scope="session")
def run(run_folder: Path) -> RunData:
    return read(run_folder)
