"""What a capture on a bare machine needs imports with the standard library and numpy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"moesim", "numpy"} and top not in sys.stdlib_module_names:
            raise ImportError(f"{name} is not to be imported here")
        return None
sys.meta_path.insert(0, Blocker())
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print("fine")
"""


def _modules() -> list[str]:
    files = [p for top in ("core", "policies") for p in sorted((ROOT / "moesim" / top).rglob("*.py"))]
    files.append(ROOT / "moesim/routing/trace.py")
    # their pydantic sides
    files = [
        p for p in files if p.relative_to(ROOT).as_posix() not in ("moesim/core/fields.py", "moesim/policies/schema.py")
    ]
    return [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]


def test_core_policies_and_traces_need_numpy_only() -> None:
    modules = _modules()
    assert {"moesim.core.streams", "moesim.policies.cache", "moesim.policies.eviction.lru"} <= set(modules)
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED, *modules], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout == "fine\n", done.stderr


def test_the_blocker_blocks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED, "moesim.policies.schema"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode != 0 and "pydantic" in done.stderr


def test_importing_moesim_is_lazy() -> None:
    heavy = "numpy pandas pydantic simpy plotly pyarrow ruamel typer jinja2"
    code = f"import sys, moesim; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
