"""`moesim run`: what it prints, what it writes, what it does with bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moesim.cli import main

TINY = ["--set", "workload.output_tokens=4", "--set", "record.timeline.steps=[1, 2]"]
FIGURES = {
    "tokens", "tokens_per_s", "ttft_ms", "tpot_ms", "lookups", "hits", "late", "misses", "hit_rate", "hit_rate_decode",
    "bytes_loaded", "bytes_wasted", "link_utilization", "compute_utilization", "breakdown_ms", "engine", "seed",
    "scenario_hash",
}  # fmt: skip
FILES = {
    "summary.json", "tokens.parquet", "layers.parquet", "residency.parquet", "manifest.json", "trace.json.gz",
    "report.html",
}  # fmt: skip


def test_json_has_every_figure_and_the_folder_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quickstart", *TINY, "--check", "--json", "-o", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert figures.keys() >= FIGURES
    assert figures["tpot_ms"].keys() >= {"mean", "p50", "p95", "p99"}
    assert {p.name for p in (tmp_path / "run").iterdir()} >= FILES
    assert json.loads((tmp_path / "run/summary.json").read_text()) == figures
    assert figures["tokens"] == 4 and figures["engine"] == "simpy"
    # stderr is for talk, and has no place to hide results
    assert "wrote" in said.err and "tokens/s" not in said.err


def test_the_table_and_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quickstart", *TINY, "--no-page", "-q"]) == 0
    said = capsys.readouterr()
    assert "throughput" in said.out and "hit rate" in said.out and said.err == ""
    assert (tmp_path / "runs/quickstart/summary.json").exists()
    assert not (tmp_path / "runs/quickstart/report.html").exists()


def test_the_same_seed_gives_the_same_bytes_another_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["run", "quickstart", *TINY, "-q", "--seed", seed, "-o", str(tmp_path / name)]) == 0
    capsys.readouterr()

    def content(name: str) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.name != "manifest.json"}

    assert content("a") == content("b")
    assert content("a")["tokens.parquet"] != content("c")["tokens.parquet"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["quickstart", "--set", "expert_cache.evictoin=lru"], "expert_cache.evictoin"),
        (["quickstart", "--set", "memory.reserve=3"], "memory.reserve"),
        (["quikstart"], "quickstart"),
    ],
)
def test_bad_input_writes_nothing(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments, "-o", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert err.rstrip().splitlines()[-1].startswith("try: moesim ")
    assert not list(tmp_path.iterdir())


def test_a_file_of_ones_own_is_not_replaced_by_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: quickstart\n")
    assert main(["run", str(mine), "-q", "-o", str(mine)]) == 2
    err = capsys.readouterr().err
    assert "output: a file stands there" in err and err.splitlines()[-1] == "try: moesim run --help"
    assert mine.read_text() == "extends: quickstart\n" and list(tmp_path.iterdir()) == [mine]


def test_too_little_memory_is_said_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 200. GiB")

    monkeypatch.setattr("moesim.engine.run.simulate", refuse)
    assert main(["run", "quickstart", "-q", "-o", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert "not enough memory" in err and "200. GiB" in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["run", "quickstart", *TINY, "-q", "-o", str(tmp_path / "file" / "run")]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err and "try: moesim" in err
