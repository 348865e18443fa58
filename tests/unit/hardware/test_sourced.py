"""Sourced numbers: long form, short form, refusals, sources."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from pydantic import ValidationError

from moesim.hardware.sourced import BandwidthNumber, BytesNumber, Count, PerByteNumber, Source, TimeNumber


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (TimeNumber, {"value": "31 us", "source": "s"}, Fraction(31, 10**6)),
        (TimeNumber, "31 us", Fraction(31, 10**6)),
        (BytesNumber, "24 GiB", Fraction(24 * 2**30)),
        (BandwidthNumber, "1008 GB/s", Fraction(1008 * 10**9)),
        (BandwidthNumber, {"value": "1008 GB/s", "low": "900 GB/s"}, Fraction(1008 * 10**9)),
        (PerByteNumber, "0.128 ms/MB", Fraction(128, 10**12)),
        (Count, 3, Fraction(3)),
        (Count, {"value": 3, "source": "s"}, Fraction(3)),
    ],
)
def test_forms(kind: type[TimeNumber], data: object, value: Fraction) -> None:
    for number in (kind.model_validate(data), kind.model_validate_json(json.dumps(data))):
        assert number.at() == number.at(12345) == value
        assert number.knots == ()
        assert number.source == (data["source"] if isinstance(data, dict) and "source" in data else "")
        again = kind.model_validate_json(number.model_dump_json())
        assert again == number


def test_interval() -> None:
    number = TimeNumber.model_validate({"value": "5 us", "low": "4 us", "high": "7 us", "source": "s"})
    assert number.interval() == (Fraction(4, 10**6), Fraction(7, 10**6))
    assert TimeNumber.model_validate("5 us").interval() == (Fraction(5, 10**6), Fraction(5, 10**6))


def test_count_is_an_integer() -> None:
    lanes = Count.model_validate(4)
    assert int(lanes) == 4 and list(range(lanes)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (TimeNumber, 31, "bare number"),
        (TimeNumber, {"value": "31 us", "source": "s", "unit": "us"}, "Extra inputs"),
        (TimeNumber, {"source": "s"}, "Field required"),
        (TimeNumber, {"value": "5 us", "low": "6 us"}, "outside its interval"),
        (TimeNumber, {"value": "5 us", "high": "4 us"}, "outside its interval"),
        (BandwidthNumber, {"source": "s"}, "neither value nor curve"),
        (BandwidthNumber, {"value": "1 GB/s", "curve": {"x": ["1 B"], "y": ["1 GB/s"]}}, "both value and curve"),
        (BandwidthNumber, {"low": "1 GB/s", "curve": {"x": ["1 B"], "y": ["1 GB/s"]}}, "inside the curve"),
        (BandwidthNumber, "0 GB/s", "more than zero"),
        (Count, -1, "greater than or equal to 0"),
        (Count, 1.5, "valid integer"),
        (Count, "3", "valid integer"),
        (Count, True, "valid integer"),
    ],
)
def test_refused(kind: type[TimeNumber], data: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        kind.model_validate_json(json.dumps(data))


def test_sources() -> None:
    Source.model_validate({"kind": "assumed", "title": "because"})
    Source.model_validate({"kind": "measured", "title": "run", "url": "https://example.org/x", "date": "2024-05"})
    for bad in (
        {"kind": "measured", "title": "run", "date": "2024"},
        {"kind": "datasheet", "title": "sheet", "url": "https://example.org"},
        {"kind": "guessed", "title": "guess"},
        {"kind": "assumed", "title": ""},
        {"kind": "datasheet", "title": "sheet", "url": "example.org", "date": "2024"},
        {"kind": "datasheet", "title": "sheet", "url": "https://example.org", "date": "May 2024"},
    ):
        with pytest.raises(ValidationError):
            Source.model_validate(bad)
