"""Alias tables carry exactly the mass of their weights; `scale` is exact integer arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.routing.alias import AliasTables, scale


def mass_of(table: AliasTables, row: int) -> list[int]:
    """Units of mass of every outcome: n * w_i if the table is exact."""
    total = int(table.total[row])
    mass = [0] * table.outcomes
    for column in range(table.outcomes):
        limit = int(table.limit[row, column])
        mass[column] += limit
        mass[int(table.alias[row, column])] += total - limit
    return mass


@given(st.lists(st.integers(0, 1 << 24), min_size=1, max_size=40).filter(any))
def test_mass_is_exact(weights):
    table = AliasTables([weights])
    assert mass_of(table, 0) == [len(weights) * w for w in weights]


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**62))
def test_scale_is_the_high_word_of_the_product(draw, bound):
    assert int(scale(np.array([draw], dtype=np.uint64), bound)[0]) == draw * bound >> 64


def test_pick_at_the_ends_of_the_draw():
    table = AliasTables([[1, 0, 3]])
    every = np.linspace(0, 2**64 - 1, 12001).astype(np.float64)
    draws = np.array([min(int(x), 2**64 - 1) for x in every], dtype=np.uint64)
    counts = np.bincount(table.pick(draws), minlength=3)
    # the unit interval is cut exactly at multiples of 1/12, so an even comb of draws counts the mass
    assert counts[1] == 0
    assert abs(counts[0] - 3000) <= 2
    assert abs(counts[2] - 9000) <= 2


@pytest.mark.parametrize("weights", [[], [[]], [[0, 0]], [[1, -1]], [[1, 2], [1]], [[1 << 61, 1 << 61]]])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="alias table"):
        AliasTables(weights)
