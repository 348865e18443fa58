"""The reference engine against the oracle: equal to the tick and to the counter on random plans.

Seeds 0 to 999; the environment variable MOESIM_SEED_OFFSET moves the range to explore others.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesim.plan.plan import Plan
from tests.oracle.oracle import simulate as oracle
from tests.property.strategies import FEATURES, random_plan, smallest
from tests.support.same import difference, outcome

OFFSET = int(os.environ.get("MOESIM_SEED_OFFSET", "0"))
BLOCK = 100


def _differs(plan: Plan) -> str:
    from moesim.engine.reference import simulate as engine

    return difference(outcome(engine, plan), outcome(oracle, plan))


@pytest.mark.parametrize("block", range(10))
def test_equal_on_random_plans(block: int) -> None:
    """A hundred plans; the message names each seed that differs, and for the first the features it takes."""
    found: list[tuple[int, str]] = []
    for seed in range(OFFSET + block * BLOCK, OFFSET + (block + 1) * BLOCK):
        words = _differs(random_plan(seed))
        if words:
            found.append((seed, words))
    if found:
        off, steps = smallest(found[0][0], lambda plan: bool(_differs(plan)))
        on = ", ".join(f for f in FEATURES if f not in off)
        few = _differs(random_plan(found[0][0], off, steps))
        lines = [f"seed {seed}: {words}" for seed, words in found]
        pytest.fail("\n".join([*lines, f"seed {found[0][0]} needs {steps} steps and {on or 'nothing'}: {few}"]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(10**6, 10**9), off=st.sets(st.sampled_from(FEATURES)), steps=st.integers(1, 6))
def test_equal_with_features_left_out(seed: int, off: set[str], steps: int) -> None:
    """The same with features left out, so that hypothesis can shrink a difference to what it takes."""
    words = _differs(random_plan(seed, tuple(sorted(off)), steps))
    assert not words, f"seed {seed}: {words}"
