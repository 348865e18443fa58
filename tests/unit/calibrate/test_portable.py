"""The kit where nothing but the standard library, numpy and torch can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.sections import present

ROOT = Path(__file__).resolve().parents[3]

# what is blocked is simply not there: torch, which looks for much, goes without it as on a bare machine
_BLOCKED = """
import sys
class Bare:
    def __init__(self):
        self.finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        own = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")  # named after the platform
        if top not in {"moesim", "numpy", *ALSO} and not own:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)
sys.meta_path[:] = [Bare()]
"""
_TORCH = "'torch torchgen functorch typing_extensions sympy mpmath filelock networkx fsspec'.split()"
_ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _run(code: str, *words: str, also: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"ALSO = {also}\n{_BLOCKED}{code}", *words],
        capture_output=True, text=True, env=_ENV, check=False,
    )  # fmt: skip


def _modules() -> list[str]:
    files = sorted((ROOT / "moesim/calibrate/capture").rglob("*.py"))
    return [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]


def test_every_module_imports_without_torch_even() -> None:
    code = "import importlib\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\nprint('fine')"
    done = _run(code, *_modules(), also="set()")
    assert done.stdout == "fine\n", done.stderr


def test_without_torch_it_says_so(tmp_path: Path) -> None:
    code = "import runpy\nrunpy.run_module('moesim.calibrate.capture', run_name='__main__', alter_sys=True)"
    done = _run(code, "-o", str(tmp_path / "c.gz"), also="set()")
    assert done.returncode == 2 and "torch is not installed" in done.stderr and "Traceback" not in done.stderr


def test_a_capture_needs_numpy_and_torch_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "c.json.gz"
    code = "import runpy\nrunpy.run_module('moesim.calibrate.capture', run_name='__main__', alter_sys=True)"
    words = ["--device", "cpu", "--quick", "--only", "launch", "--only", "host", "-o", str(path)]
    done = _run(code, *words, also=_TORCH)
    assert done.returncode == 0, done.stderr
    assert {row.section for row in CaptureFile.read(path).rows} == {"launch", "host"}


@pytest.mark.slow
def test_the_whole_quick_plan_in_under_three_minutes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "c.json.gz"
    code = "import runpy\nrunpy.run_module('moesim.calibrate.capture', run_name='__main__', alter_sys=True)"
    begun = time.monotonic()
    done = _run(code, "--device", "cpu", "--quick", "--path", str(tmp_path), "-o", str(path), also=_TORCH)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 180
    assert "cells left" not in done.stderr and path.stat().st_size < 5_000_000
    rows = CaptureFile.read(path).rows
    assert {row.section for row in rows} == set(present())
    assert all(row.ok or row.skipped for row in rows)


@pytest.mark.parametrize("name", ["pydantic", "pandas", "moesim.policies.schema"])
def test_the_blocker_blocks(name: str) -> None:
    done = _run(f"import {name}", also="set()")
    assert done.returncode != 0 and "No module named" in done.stderr
