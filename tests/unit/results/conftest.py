"""One toy run for all tests of results (nobody changes it)."""

from __future__ import annotations

import pytest

from moesim.plan.plan import Plan
from moesim.results.result import Result
from tests.support.toy import run_toy, toy_plan


@pytest.fixture(scope="session")
def toy() -> tuple[Plan, Result]:
    plan = toy_plan(layers=6, decode=10)
    return plan, run_toy(plan)
