"""The random numbers: published values of the mixing function, equal in Python and numpy, and independent streams."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from zlib import crc32

import numpy as np
import pytest

from moesim.core.streams import attempts, draw, draws, stream_id, threshold

MASK = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """First output of the generator seeded with `state`, as in Vigna's splitmix64.c."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_function_of_this_test_gives_the_published_numbers() -> None:
    # the first three outputs of splitmix64 seeded with 0; its state grows by the golden gamma
    gamma = 0x9E3779B97F4A7C15
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [splitmix64(n * gamma & MASK) for n in range(3)] == published


def test_a_draw_is_the_chain_over_its_coordinates() -> None:
    chain = splitmix64(42)
    for coordinate in (7, 3, 2, 1, 5):
        chain = splitmix64(chain ^ coordinate)
    assert draw(42, 7, 3, 2, 1, 5) == chain
    assert list(islice(attempts(42, 7, 3, 2, 1), 6))[5] == chain


def test_arrays_hold_the_same_numbers() -> None:
    seed, stream = 2**63 - 1, stream_id("routing")
    step, layer = np.array([0, 1, 2**40])[:, None], np.arange(4)
    made = draws(seed, stream, step, layer, 9, 1)
    wanted = [[draw(seed, stream, int(s), n, 9, 1) for n in range(4)] for s in step[:, 0]]
    assert made.dtype == np.uint64 and made.tolist() == wanted


def test_streams_are_named_by_crc32_and_differ() -> None:
    assert stream_id("routing") == crc32(b"routing") != stream_id("eviction")
    numbers = {draw(seed, stream_id(name), step) for seed in (0, 1) for name in ("a", "b") for step in range(100)}
    assert len(numbers) == 400


def test_a_threshold_is_met_as_often_as_it_says() -> None:
    below = int((draws(1, 2, np.arange(100_000)) < np.uint64(threshold(0.3))).sum())
    assert abs(below - 30_000) < 4 * (100_000 * 0.3 * 0.7) ** 0.5  # four standard deviations
    assert (threshold(0), threshold(1), threshold(Fraction(1, 2))) == (0, 2**64, 2**63)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        threshold(1.5)
