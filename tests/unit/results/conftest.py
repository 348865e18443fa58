"""One toy run for all tests of results (nobody changes it)."""

from __future__ import annotations

import pytest

from moesim.engine.reference import simulate
from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.toy import toy_plan


@pytest.fixture(scope="session")
def toy() -> tuple[Plan, Result]:
    plan = toy_plan(layers=6, decode=10)
    return plan, simulate(plan)
