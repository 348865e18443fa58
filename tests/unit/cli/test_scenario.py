"""The command line's conventions, and `moesim scenario`."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moesim.cli import COMMANDS, main

SHIPPED = ["mixtral-rtx4090", "oneplus-15r-qwen3", "quickstart", "qwen3-30b-rtx4090"]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(list(args))
    out, err = capsys.readouterr()
    return code, out, err


def test_bare_is_five_lines_and_fine(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, len(out.splitlines()), err) == (0, 5, "")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    heavy = [
        "pandas",
        "plotly",
        "numba",
        "torch",
        "pint",
        "pyarrow",
        "numpy",
        "pydantic",
        "ruamel.yaml",
        "simpy",
        "jinja2",
    ]
    program = (
        "import sys; from moesim.cli import main; code = main(['--help'])\n"
        f"print([m for m in {heavy!r} if m in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] 0"
    for name, (_, panel, line) in COMMANDS.items():
        assert name in done.stdout
        assert f"{panel}:" in done.stdout
        assert line.split(".")[0][:30] in done.stdout


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "moesim", "scenario", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "try: moesim scenario --help"


@pytest.mark.parametrize(
    ("args", "said", "last"),
    [
        (["scenarios"], 'got "scenarios", allowed ', "try: moesim --help"),
        (["--nonsense"], "No such option", "try: moesim --help"),
        (["scenario", "show"], "Missing argument", "try: moesim scenario show --help"),
        (["scenario", "show", "quickstart", "--bad"], "No such option", "try: moesim scenario show --help"),
        (["scenario", "show", "quickstrat"], "nearest quickstart", "try: moesim scenario list"),
        (["scenario", "check", "none.yaml"], "no such file", "try: moesim scenario list"),
        (["scenario", "check", "quickstart", "--set", "seed=x"], '--set seed=x: seed: got "x"', "try: moesim scenario schema"),
        (["scenario", "schema", "cat"], 'got "cat", allowed scenario | machine', "try: moesim scenario schema"),
    ],
)  # fmt: skip
def test_errors_are_text_and_end_in_a_command(
    capsys: pytest.CaptureFixture[str], args: list[str], said: str, last: str
) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(last)


def test_the_error_names_the_word_that_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nearest scenario" in run(capsys, "scenarios")[2]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "scenario", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == SHIPPED
    assert all(len(line.split()) > 3 for line in out.splitlines())
    rows = json.loads(run(capsys, "scenario", "list", "--json")[1])
    assert [row["name"] for row in rows] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_check(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = run(capsys, "scenario", "check", name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}: fine, ")


def test_check_says_everything_about_all_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("moesim: 2\nhardware: none-such\n")
    code, _, err = run(capsys, "scenario", "check", str(tmp_path / "b.yaml"), str(tmp_path / "a.yaml"))
    assert code == 2
    lines = err.splitlines()[:-1]
    assert [Path(line.split(":")[0]).name for line in lines] == ["a.yaml"] * 5 + ["b.yaml"] * 5
    for name in ("a", "b"):
        mine = [line for line in lines if line.startswith(f"{tmp_path / name}.yaml:")]
        assert {line.split(": ")[1] for line in mine} == {"model", "moesim", "workload", "memory", "hardware"}


def test_show_gives_every_number_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "scenario", "show", "mixtral-rtx4090", "--set", "memory.reserve=2 GiB")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line[:1].isalpha()}
    assert lines["memory.reserve"].split("  ")[-1].strip() == "--set memory.reserve=2 GiB"
    assert "mixtral-rtx4090.yaml:" in lines["workload.prompt_tokens"]
    assert "[" in lines["hardware.accelerator.memory.capacity"]
    assert "sources:" in out
    assert "https://" in out
    assert "expert cache" in out


def test_show_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "scenario", "show", "quickstart", "--json")
    assert code == 0
    data = json.loads(out)
    assert data["scenario"]["model"]["name"] == "qwen3-30b-a3b"
    assert data["sources"]["model.n_layers"]["kind"] == "published"
    assert len(data["hash"]) == 64
    memory = data["memory"]
    parts = ("reserve", "resident", "kv", "pinned", "expert_cache", "left")
    assert memory["capacity"] == sum(memory[part] for part in parts)


def test_works_from_another_folder(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "moesim", "scenario", "check", "quickstart"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m moesim scenario schema | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("moesim ")
