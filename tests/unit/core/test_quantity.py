"""Units: decimal against binary, bits refused, bare numbers refused, exactness."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesim.core.quantity import DIMENSIONS, QuantityError, example, parse, pattern, show, units


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "bandwidth", Fraction(3_350_000_000_000)),
        ("3400 GB/s", "bandwidth", Fraction(3_400_000_000_000)),  # not 3400 * 2**30
        ("1 KiB", "bytes", Fraction(1024)),
        ("1 kB", "bytes", Fraction(1000)),
        ("24GiB", "bytes", Fraction(24 * 1024**3)),
        ("24 GB", "bytes", Fraction(24 * 10**9)),
        ("2 PiB", "bytes", Fraction(2 * 1024**5)),
        ("16 B", "bytes", Fraction(16)),
        ("1.5 KiB/s", "bandwidth", Fraction(1536)),
        ("0.1 us", "time", Fraction(1, 10**7)),
        ("7 µs", "time", Fraction(7, 10**6)),
        ("7 μs", "time", Fraction(7, 10**6)),
        ("1e-3 s", "time", Fraction(1, 1000)),
        ("2 min", "time", Fraction(120)),
        ("165.2 TFLOP/s", "compute", Fraction(165_200_000_000_000)),
        ("165.2 TFLOPS", "compute", Fraction(165_200_000_000_000)),
        ("45 TOPS", "compute", Fraction(45 * 10**12)),
        ("45 TOP/s", "compute", Fraction(45 * 10**12)),
        ("0.128 ms/MB", "per_byte", Fraction(128, 10**12)),
        ("1 s/GiB", "per_byte", Fraction(1, 2**30)),
        ("10 %", "ratio", Fraction(1, 10)),
        ("0.1", "ratio", Fraction(1, 10)),
        (0.1, "ratio", Fraction(1, 10)),  # what was written, not the binary float next to it
        (1, "ratio", Fraction(1)),
        ("450 W", "power", Fraction(450)),
    ],
)
def test_value(text: object, dimension: str, value: Fraction) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension", "said"),
    [
        ("12 Mb", "bytes", "bits"),
        ("12 Gb/s", "bandwidth", "bits"),
        ("12 Gbit/s", "bandwidth", "bits"),
        ("12 Gbps", "bandwidth", "bits"),
        ("12 Mib", "bytes", "bits"),
        ("12 KB", "bytes", "kB for 1000 or KiB for 1024"),
        ("80", "bytes", "no unit"),
        (80, "bytes", "bare number"),
        (80.0, "bandwidth", "bare number"),
        ("-3 GB", "bytes", "negative"),
        (-0.5, "ratio", "negative"),
        ("nan GB", "bytes", "finite"),
        ("inf GB", "bytes", "finite"),
        ("1e400 GB", "bytes", "finite"),
        ("1e999999999 GB", "bytes", "finite"),
        (float("nan"), "ratio", "finite"),
        (float("inf"), "time", "finite"),
        ("3.35 TB/s", "bytes", "that is bandwidth"),
        ("3.35 GB", "bandwidth", "that is bytes"),
        ("3 parsec", "time", "unknown unit"),
        ("3 TFLOP", "compute", "unknown unit, nearest TFLOP"),
        ("1,000 GB", "bytes", "plain"),
        ("1 000 GB", "bytes", "plain"),
        ("0x10 B", "bytes", "plain"),
        ("٣ GB", "bytes", "plain"),
        ("GB", "bytes", "plain"),
        ("", "bytes", "plain"),
        ("3 GB\n", "bytes", "plain"),
        (True, "ratio", "True"),
        (None, "ratio", "None"),
        ("9" * 41 + " B", "bytes", "plain"),
    ],
)
def test_refused(text: object, dimension: str, said: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(text, dimension)
    message = str(caught.value)
    assert said in message
    assert message.startswith("got ")
    assert f'such as "{example(dimension)}"' in message
    assert len(message) < 200
    error = caught.value
    assert str(type(error)(*error.args)) == message


def test_refuses_unknown_dimension() -> None:
    with pytest.raises(KeyError):
        parse("1 B", "length")


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (24 * 2**30, "bytes", "24 GiB"),
        (24 * 10**9, "bytes", "24 GB"),
        (0, "bytes", "0 B"),
        (1_008 * 10**9, "bandwidth", "1.008 TB/s"),
        (Fraction(31, 10**6), "time", "31 us"),
        (Fraction(128, 10**12), "per_byte", "128 ps/B"),
        (Fraction(1, 3), "ratio", "0.333333"),
    ],
)
def test_show(value: Fraction | int, dimension: str, text: str) -> None:
    shown = show(value, dimension)
    assert parse(shown, dimension) == pytest.approx(value, rel=1e-5)
    if shown != text:  # another spelling is allowed only if it means exactly the same
        assert parse(shown, dimension) == parse(text, dimension)


@given(st.sampled_from(DIMENSIONS), st.integers(0, 999_999), st.integers(-6, 6))
def test_show_of_six_digits_is_exact(dimension: str, digits: int, power: int) -> None:
    value = digits * Fraction(10) ** power
    if dimension != "per_byte":
        value *= parse(f"1 {units(dimension)[0]}", dimension)
    assert parse(show(value, dimension), dimension) == value


@given(st.fractions(min_value=0, max_value=10**12, max_denominator=10**6), st.sampled_from(DIMENSIONS))
def test_show_is_near(value: Fraction, dimension: str) -> None:
    back = parse(show(value, dimension), dimension)
    assert abs(back - value) <= value / 10**5


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_pattern_agrees_with_parse(dimension: str) -> None:
    for unit in units(dimension):
        assert re.search(pattern(dimension), f"12.5 {unit}")
    assert re.search(pattern(dimension), example(dimension))
    assert not re.search(pattern(dimension), "12 Mb")
    assert not re.search(pattern(dimension), f"-{example(dimension)}")
