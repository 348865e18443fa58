"""Tight gates hold for the reference engine and for the oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result


@pytest.fixture(params=["simpy", "oracle"])
def simulate(request: pytest.FixtureRequest) -> Callable[[Plan], Result]:
    """One engine: a function of the plan."""
    if request.param == "simpy":
        from moesim.engine.reference import simulate as engine
    else:
        from tests.oracle.oracle import simulate as engine
    return engine
