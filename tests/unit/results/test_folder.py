"""The run folder: same bytes, nothing personal, refused when it is not whole."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pytest

from moesim.engine.reference import simulate
from moesim.errors import InputError
from moesim.plan.plan import Plan
from moesim.results.folder import FILES, FORMAT, read, save
from moesim.results.manifest import base_names, environment
from moesim.results.metrics import summary
from moesim.results.result import BREAKDOWN, Result
from tests.support.toy import toy_info, toy_plan

Run = tuple[Plan, Result]


@pytest.fixture(scope="module")
def folder(toy: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan, result = toy
    return save(result, plan, toy_info(), tmp_path_factory.mktemp("runs") / "toy")


def test_a_folder_reads_back_as_it_was_written(toy: Run, folder: Path) -> None:
    plan, result = toy
    data = read(folder)
    assert data.summary == summary(plan, result, toy_info().hash)
    assert (data.n_steps, data.n_layers) == (plan.n_steps, plan.n_layers)
    np.testing.assert_array_equal(data.duration_ps, result.step_end - result.step_start)
    np.testing.assert_array_equal(data.prefill, plan.step_prefill)
    for i, name in enumerate(BREAKDOWN):
        np.testing.assert_array_equal(data.tokens[f"{name}_ps"], result.breakdown_ps[:, i])
    np.testing.assert_array_equal(data.grid("misses"), result.misses)
    np.testing.assert_array_equal(data.grid("resident"), result.residency)
    assert [tuple(int(data.waits[c][i]) for c in data.waits) for i in (0, -1)] == [
        (w.step, w.layer, w.start, w.end, w.expert, w.transfer) for w in (result.waits[0], result.waits[-1])
    ]
    assert sorted(data.timeline, key=str) == sorted(result.timeline, key=str)
    assert data.scenario == toy_info().resolved


def test_equal_runs_write_equal_bytes(folder: Path, tmp_path: Path) -> None:
    plan = toy_plan(layers=6, decode=10)
    again = save(simulate(plan), plan, toy_info(), tmp_path / "again", environment=environment(["moesim"], 1.5, "then"))
    assert {p.name for p in again.iterdir()} == set(FILES)
    for name in FILES:
        if name != "manifest.json":
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    one, other = (json.loads((f / "manifest.json").read_bytes()) for f in (folder, again))
    assert one.pop("environment") != other.pop("environment")
    assert one == other


def test_another_seed_writes_another_hash(folder: Path, tmp_path: Path) -> None:
    plan = toy_plan(layers=6, decode=10, seed=4)
    other = save(simulate(plan), plan, toy_info(), tmp_path / "other")
    assert read(other).manifest["sha256"] != read(folder).manifest["sha256"]


def test_nothing_personal_gets_into_the_manifest(folder: Path, tmp_path: Path, toy: Run) -> None:
    plan, result = toy
    argv = ["/usr/local/bin/moesim", "run", "/home/somebody/my scenarios/a.yaml", "--set", "routing.path=/data/x/b.csv",
            "--set=hardware={extends: ../secret/card.yaml, k: 1}", "-o/home/somebody/runs", "--set", "l.b=26.1 GB/s",
            r"C:\Users\somebody\c.yaml"]  # fmt: skip
    made = save(result, plan, toy_info(), tmp_path / "run", environment=environment(argv))
    text = (made / "manifest.json").read_text()
    for word in (
        "somebody",
        "/home",
        "/data",
        "secret",
        "my scenarios",
        socket.gethostname(),
        str(tmp_path),
        str(Path.cwd()),
    ):
        assert word not in text, word
    user = getpass.getuser()
    assert f'/{user}"' not in text and f'"{user}"' not in text
    assert json.loads(text)["environment"]["argv"] == [
        "moesim", "run", "a.yaml", "--set", "routing.path=b.csv", "--set=hardware={extends: card.yaml, k: 1}", "runs",
        "--set", "l.b=26.1 GB/s", "c.yaml",
    ]  # fmt: skip


def test_base_names_leave_units_and_links_alone() -> None:
    argv = ["a=0.128 ms/MB", "b=1008 GB/s", "c=3.35TB/s", "https://example.org/a/b", "165.2 TFLOP/s", "x.yaml"]
    assert base_names(argv) == argv


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for file in FILES:
        if file != name:
            (tmp_path / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read(tmp_path)


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_a_broken_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for file in FILES:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / name).write_bytes(b"{ broken: [")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read(tmp_path)


def test_no_run_folder_and_another_format_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        read(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read(tmp_path / "absent")
    for file in FILES:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    changed = json.loads((tmp_path / "manifest.json").read_bytes()) | {"format": FORMAT + 1}
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=f"got {FORMAT + 1}"):
        read(tmp_path)


def test_a_failing_page_leaves_nothing_behind(toy: Run, tmp_path: Path) -> None:
    plan, result = toy

    def fail(scratch: Path) -> None:
        assert (scratch / "manifest.json").is_file()
        raise RuntimeError("no page")

    with pytest.raises(RuntimeError, match="no page"):
        save(result, plan, toy_info(), tmp_path / "run", finish=fail)
    assert list(tmp_path.iterdir()) == []


def test_the_hashes_in_the_manifest_are_those_of_the_files(folder: Path) -> None:
    import hashlib

    data = read(folder)
    for name, digest in data.manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
