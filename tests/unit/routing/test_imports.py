"""A capture script has numpy and nothing else: the trace, and all of routing, must import with that alone."""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "pyarrow", "ruamel", "pydantic", "simpy", "typer", "plotly")


@pytest.mark.parametrize("module", ["moesim.routing.trace", "moesim.routing"])
def test_numpy_is_enough(module):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
