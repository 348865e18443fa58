"""Quantity fields in strict models: from Python data, from JSON, back to text, as JSON Schema."""

from __future__ import annotations

import copy
import json
import pickle
from fractions import Fraction

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from moesim.core.fields import Bandwidth, Bytes, Compute, PerByte, Quantity, Ratio, Time, quantity


class Sample(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    wait: Time = Quantity(Fraction(0), "0 s")
    size: Bytes | None = None
    rate: Bandwidth | None = None
    peak: Compute | None = None
    share: Ratio | None = None
    slope: PerByte | None = None


DATA = {
    "wait": "31 us",
    "size": "1.5 KiB",
    "rate": "26 GB/s",
    "peak": "165.2 TFLOPS",
    "share": "80 %",
    "slope": "0.128 ms/MB",
}


def test_python_and_json_agree() -> None:
    from_python, from_json = Sample.model_validate(DATA), Sample.model_validate_json(json.dumps(DATA))
    assert from_python == from_json
    assert from_json.wait.value == Fraction(31, 10**6)
    assert from_json.size is not None and from_json.size.value == 1536
    assert from_json.model_dump(mode="json") == DATA
    assert Sample.model_validate(from_python.model_dump()) == from_python
    assert hash(from_python) == hash(from_json)


def test_ratio_may_be_bare() -> None:
    assert Sample.model_validate_json('{"share": 0.1}').share == Quantity(Fraction(1, 10), "")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("wait", 12, "bare number"),
        ("wait", "12 GB", "that is bytes"),
        ("size", "12 Mb", "bits"),
        ("size", "0.3 B", "whole"),
        ("rate", "0 GB/s", "more than zero"),
        ("peak", "0 TFLOPS", "more than zero"),
        ("share", "-1 %", "negative"),
        ("slope", "1 ms", "that is time"),
        ("size", ["1 B"], "1 B"),
        ("size", {"value": "1 B"}, "1 B"),
    ],
)
def test_errors_say_got_and_allowed(field: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate_json(json.dumps({field: value}))
    (error,) = (e for e in caught.value.errors() if e["type"] == "quantity")
    assert error["loc"][0] == field
    assert error["msg"].startswith("got ") and ", allowed " in error["msg"] and said in error["msg"]
    assert set(error["ctx"]) == {"got", "allowed"}


def test_schema_has_pattern_and_example() -> None:
    schema = Sample.model_json_schema()
    wait = schema["properties"]["wait"]
    assert wait["type"] == "string" and wait["examples"] == ["12 us"] and wait["default"] == "0 s"
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(DATA, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"wait": "31 GB"}, schema)
    jsonschema.validate({"share": 0.5}, schema)


def test_quantity_from_value() -> None:
    assert quantity(2**30, "bytes").text == "1 GiB"


def test_quantity_is_frozen_and_travels() -> None:
    one = quantity(1024, "bytes")
    with pytest.raises(AttributeError):
        one.value = Fraction(2)
    with pytest.raises(AttributeError):
        del one.text
    back = pickle.loads(pickle.dumps(one))
    assert back == one and back.text == one.text and copy.deepcopy(one) == one
    assert one != 1024 and Quantity(Fraction(1024), "1024 B") == one
