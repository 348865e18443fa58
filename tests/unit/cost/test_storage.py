"""Cutting an expert into reads."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.cost.service import Service
from moesim.cost.storage import make_storage_reads, split_reads


@given(st.integers(1, 10_000), st.integers(1, 4), st.integers(0, 100), st.integers(1, 3_000))
def test_reads_cover_each_piece_with_its_padding(total: int, pieces: int, padding: int, read_bytes: int) -> None:
    total = max(total, pieces)
    reads = split_reads(total, pieces=pieces, padding=padding, read_bytes=read_bytes)
    assert sum(read.moved for read in reads) == total + pieces * padding
    assert max(read.moved for read in reads) <= read_bytes
    ends = [read.end for read in reads]
    assert ends == sorted(ends)
    assert ends[-1] == total
    # at most one short read for each piece
    assert sum(read.moved < read_bytes for read in reads) <= pieces


@pytest.mark.parametrize(
    ("total", "pieces", "padding", "read_bytes"), [(2, 3, 0, 1), (5, 0, 0, 1), (5, 1, -1, 1), (5, 1, 0, 0)]
)
def test_impossible_cuts_are_refused(total: int, pieces: int, padding: int, read_bytes: int) -> None:
    with pytest.raises(ValueError, match="no cut of"):
        split_reads(total, pieces=pieces, padding=padding, read_bytes=read_bytes)


def test_host_memory_bounds_all_lanes_together() -> None:
    reads = split_reads(8, pieces=1, padding=0, read_bytes=8)
    made = make_storage_reads(reads, [Service(Fraction(4)), Service(Fraction(8))], Service(Fraction(2)))
    # alone 8 B / 4 B/s = 2 s, but memory takes 2 B/s: 4 s; two reads together 8 s
    assert made.by_size == {8: (0, 4 * 10**12, 8 * 10**12)}
    assert made.sizes == (8,)
