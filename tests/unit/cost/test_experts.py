"""Grouped experts: hand-computed parts, and the integer table equal to the rational formula entry by entry."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.cost.experts import FfnShape, LinearShape, ffn_part, ffn_table, linear_part
from moesim.cost.rates import Rates
from moesim.cost.roofline import combine
from moesim.cost.service import Service


def service(points: list[int], top: int) -> Service:
    """A rate that rises in steps of top / len(points) at the points; a scalar without points."""
    if not points:
        return Service(Fraction(top))
    return Service.of_curve(lambda x: Fraction(top * (1 + sum(x > p for p in points)), 1 + len(points)), points)


knots = st.lists(st.integers(1, 10**7), max_size=4, unique=True).map(sorted)
shapes = st.builds(
    FfnShape,
    d_model=st.integers(1, 4096),
    d_inner=st.integers(1, 4096),
    n_matrices=st.sampled_from([2, 3]),
    weight_bytes=st.integers(1, 10**8),
    dtype=st.just("bf16"),
)
machines = st.builds(
    lambda memory, rows, peak, l2, size: Rates(
        memory=service(memory, 10**12 + 7), efficiency=service(rows, 1), peaks={"bf16": Fraction(peak)},
        l2=l2 and Service(Fraction(l2)), l2_size=size if l2 else 0,
    ),
    knots, knots, st.integers(10**9, 10**15), st.none() | st.integers(10**11, 10**13), st.integers(1, 10**8),
)  # fmt: skip
launches = st.integers(0, 10**9).map(lambda ps: Fraction(ps, 10**12) + Fraction(1, 3 * 10**15))


def test_a_group_by_hand() -> None:
    one = Service(Fraction(10**12))
    rates = Rates(memory=one, efficiency=Service(Fraction(1, 2)), peaks={"bf16": Fraction(4 * 10**12)})
    shape = FfnShape(d_model=4, d_inner=6, n_matrices=3, weight_bytes=1000, dtype="bf16")
    part = ffn_part(rates, shape, pairs=5, distinct=2)
    assert part.flops == 5 * 3 * 2 * 4 * 6
    # weights of two experts; in and out of five pairs; the inner activation written and read
    assert part.bytes == 2 * 1000 + 5 * 2 * (4 + 4) + 2 * 5 * 6 * 2
    assert part.compute * 10**12 == Fraction(part.flops, 2)
    assert part.memory * 10**12 == part.bytes


def test_inner_activations_live_in_the_second_level_cache_as_far_as_they_fit() -> None:
    shape = FfnShape(d_model=4, d_inner=6, n_matrices=3, weight_bytes=1000, dtype="bf16")

    def part(size: int, l2: int = 10**15) -> int:
        fast = Service(Fraction(10**12))
        made = Rates(memory=fast, efficiency=Service(Fraction(1)), peaks={"bf16": Fraction(10**15)},
                     l2=Service(Fraction(l2)), l2_size=size)  # fmt: skip
        got = ffn_part(made, shape, pairs=5, distinct=2)
        assert got.memory * 10**12 == max(got.bytes, Fraction((2000 + 80 + 120) * 10**12, l2))
        return got.bytes

    assert [part(60), part(40), part(1)] == [2080, 2080 + 2 * 20, 2080 + 2 * 59]
    part(60, l2=10**10)  # a slow cache is a floor of its own


def test_a_linear_layer_by_hand() -> None:
    rates = Rates(memory=Service(Fraction(1)), efficiency=Service(Fraction(1)), peaks={"bf16": Fraction(1)})
    part = linear_part(rates, "router", 3, LinearShape(d_in=8, d_out=5, weight_bytes=77, dtype="bf16"))
    assert (part.flops, part.bytes) == (2 * 3 * 8 * 5, 77 + 3 * 2 * 13)


@pytest.mark.parametrize(("pairs", "distinct"), [(0, 0), (3, 0), (2, 3)])
def test_impossible_groups_are_refused_and_empty_in_the_table(pairs: int, distinct: int) -> None:
    rates = Rates(memory=Service(Fraction(1)), efficiency=Service(Fraction(1)), peaks={"bf16": Fraction(1)})
    shape = FfnShape(d_model=1, d_inner=1, n_matrices=2, weight_bytes=1, dtype="bf16")
    with pytest.raises(ValueError, match="distinct experts <= pairs"):
        ffn_part(rates, shape, pairs, distinct)
    assert ffn_table(rates, shape, 3, 3, Fraction(1))[pairs, distinct] == 0


@given(machines, shapes, launches, st.integers(0, 12), st.integers(0, 6))
def test_the_table_equals_the_formula_and_is_monotone(
    rates: Rates, shape: FfnShape, launch: Fraction, max_pairs: int, max_distinct: int
) -> None:
    table = ffn_table(rates, shape, max_pairs, max_distinct, launch)
    assert table.shape == (max_pairs + 1, max_distinct + 1)
    assert table.dtype == np.int64
    for pairs in range(1, max_pairs + 1):
        for distinct in range(1, min(pairs, max_distinct) + 1):
            part = ffn_part(rates, shape, pairs, distinct)
            assert table[pairs, distinct] == combine([part], launch).ticks
            # no faster than the highest rates allow (I8)
            floor = max(part.flops / rates.peaks["bf16"] / rates.efficiency.peak, part.bytes / rates.memory.peak)
            assert table[pairs, distinct] >= ceil((launch + floor) * 10**12)
            assert table[pairs, distinct] >= max(table[pairs - 1, distinct], table[pairs, distinct - 1])


@pytest.mark.parametrize("curved", [False, True])
def test_a_large_table_takes_less_than_a_second(curved: bool) -> None:
    points = [1 << 20, 1 << 24, 1 << 28] if curved else []
    rates = Rates(
        memory=service(points, 1_008_000_000_007), efficiency=service([1, 16, 64] if curved else [], 1),
        peaks={"bf16": Fraction(165_200_000_000_000)}, l2=Service(Fraction(5 * 10**12)), l2_size=72 << 20,
    )  # fmt: skip
    shape = FfnShape(d_model=2048, d_inner=768, n_matrices=3, weight_bytes=2_866_176, dtype="bf16")
    start = process_time()
    table = ffn_table(rates, shape, 4096, 128, Fraction(28, 10**6))
    took = process_time() - start
    print(f"4096 x 128 entries in {took:.2f} s")
    assert table[4096, 128] == combine([ffn_part(rates, shape, 4096, 128)], Fraction(28, 10**6)).ticks
    assert took < 2  # the aim is 1 s of processor time, whatever else the machine does; twice that fails
