"""Conservation laws on random plans, for the oracle and for the reference engine, by two checkers."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from moesim.errors import MoesimError, StuckError
from moesim.plan.plan import Plan
from moesim.results.invariants import check as users_check
from moesim.results.result import Result
from tests.property.strategies import random_plan
from tests.support.invariants import check

OFFSET = int(os.environ.get("MOESIM_SEED_OFFSET", "0"))


@pytest.fixture(params=["simpy", "oracle"])
def simulate(request: pytest.FixtureRequest) -> Callable[[Plan], Result]:
    """One engine."""
    if request.param == "simpy":
        from moesim.engine.reference import simulate as engine
    else:
        from tests.oracle.oracle import simulate as engine
    return engine


@pytest.mark.parametrize("block", range(4))
def test_laws_hold(block: int, simulate: Callable[[Plan], Result]) -> None:
    """I1 to I6 and I11, the tests' own checker."""
    broken = []
    for seed in range(OFFSET + block * 100, OFFSET + (block + 1) * 100):
        plan = random_plan(seed)
        try:
            check(plan, simulate(plan))
        except StuckError:
            continue
        except AssertionError as error:
            broken.append(f"seed {seed}: {str(error).splitlines()[0]}")
    assert not broken, "\n".join(broken)


def test_the_users_checker_agrees(simulate: Callable[[Plan], Result]) -> None:
    """`moesim.results.invariants` finds nothing either."""
    broken = []
    for seed in range(OFFSET + 400, OFFSET + 600):
        plan = random_plan(seed)
        try:
            users_check(plan, simulate(plan))
        except StuckError:
            continue
        except MoesimError as error:
            broken.append(f"seed {seed}: {error}")
    assert not broken, "\n".join(broken)
