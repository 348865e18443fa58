"""Numbers that say where they come from.

In a profile a number is ``{value: "1008 GB/s", source: KEY}`` or ``{curve: {x: [...], y: [...]}, source: KEY}``, where
KEY names an entry of the ``sources:`` table of the same file; ``low`` and ``high`` may bound it. In a scenario it is
just ``"1008 GB/s"``: then the number has no key, and its source is the scenario itself, as an assumption.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from moesim.core.fields import Bandwidth, Bytes, Compute, PerByte, Quantity, Ratio, Time
from moesim.hardware.curves import Curve, Frozen

__all__ = [
    "BandwidthNumber", "BytesNumber", "ComputeNumber", "Count", "Number", "PerByteNumber", "RatioNumber", "Scalar",
    "Source", "Sourced", "TimeNumber", "numbers",
]  # fmt: skip

X = TypeVar("X", int, Quantity)
Y = TypeVar("Y", bound=Quantity)


class Source(Frozen):
    """Where numbers come from. An assumption needs no address, but its title says in one sentence why that value."""

    kind: Literal["datasheet", "measured", "assumed"] = Field(description="how far the numbers can be trusted")
    title: str = Field(min_length=3, description="what it is; for an assumption, why this value")
    url: str = Field(default="", pattern=r"^(https?://\S+)?$", description="where to read it")
    date: str = Field(
        default="", pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?)?$", description="published: 2022, 2022-11 or 2022-11-02"
    )

    @model_validator(mode="after")
    def _check(self) -> Source:
        if self.kind != "assumed" and not (self.url and self.date):
            raise _refusal(f"a {self.kind} source without url or date", "both; only kind: assumed may lack them")
        return self


class Sourced(Frozen):
    """What all numbers share: a source key, and the short form (a bare value without a key)."""

    source: str = Field(default="", description="key in the sources table; without one, an assumption of this file")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, (dict, Sourced)) else {"value": data}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler(schema)
        value = handler.resolve_ref_schema(full)["properties"]["value"]
        short = [one for one in value.get("anyOf", [value]) if one.get("type") != "null"]
        return {"anyOf": [*short, full]}


class Scalar(Sourced, Generic[Y]):
    """One value with an optional interval."""

    value: Y
    low: Y | None = Field(default=None, description="least credible value")
    high: Y | None = Field(default=None, description="largest credible value")

    @model_validator(mode="after")
    def _check(self) -> Scalar[Y]:
        _check_interval(self.value, self.low, self.high)
        return self

    @property
    def knots(self) -> tuple[int, ...]:
        """Where the number changes with x: nowhere."""
        return ()

    def at(self, x: int | None = None) -> Fraction:
        """The value in SI units, the same at every x."""
        return self.value.value

    def interval(self, x: int | None = None) -> tuple[Fraction, Fraction]:
        """(low, high) in SI units; the value itself where none is given."""
        return (self.low or self.value).value, (self.high or self.value).value


class Number(Sourced, Generic[X, Y]):
    """One value or a curve over x (bytes or rows), with an optional interval."""

    value: Y | None = None
    low: Y | None = Field(default=None, description="least credible value")
    high: Y | None = Field(default=None, description="largest credible value")
    curve: Curve[X, Y] | None = Field(default=None, description="the value as it depends on the amount of work")

    @model_validator(mode="after")
    def _check(self) -> Number[X, Y]:
        if (self.value is None) == (self.curve is None):
            raise _refusal("both value and curve" if self.curve else "neither value nor curve", "one of value, curve")
        if self.value is None and (self.low or self.high):
            raise _refusal("low or high beside a curve", "low and high inside the curve, one for each point")
        if self.value is not None:
            _check_interval(self.value, self.low, self.high)
        return self

    @property
    def knots(self) -> tuple[int, ...]:
        """The x at which the curve is given, in SI units or counts; empty for a single value."""
        return self.curve.xs if self.curve else ()

    def at(self, x: int | None = None) -> Fraction:
        """The value at x in SI units; of a curve without x, its last point (the largest amount)."""
        if self.curve is not None:
            return self.curve.at(self.knots[-1] if x is None else x)
        assert self.value is not None  # _check
        return self.value.value

    def interval(self, x: int | None = None) -> tuple[Fraction, Fraction]:
        """(low, high) at x in SI units, as for `at`."""
        if self.curve is not None:
            return self.curve.interval(self.knots[-1] if x is None else x)
        assert self.value is not None  # _check
        return (self.low or self.value).value, (self.high or self.value).value


class Count(Sourced):
    """A whole number of things (lanes, kernels, pieces). ``int(count)`` is the number."""

    value: int = Field(ge=0, lt=2**31)

    @property
    def knots(self) -> tuple[int, ...]:
        """Where the number changes with x: nowhere."""
        return ()

    def at(self, x: int | None = None) -> Fraction:
        """The number as a Fraction, like every other sourced number."""
        return Fraction(self.value)

    def __index__(self) -> int:
        return self.value


class TimeNumber(Scalar[Time]):
    """Seconds."""


class BytesNumber(Scalar[Bytes]):
    """Bytes."""


class ComputeNumber(Scalar[Compute]):
    """Operations per second; one multiply or one add is one operation."""


class PerByteNumber(Scalar[PerByte]):
    """Seconds per byte."""


class BandwidthNumber(Number[Bytes, Bandwidth]):
    """Bytes per second, or a curve of them over bytes."""


class RatioNumber(Number[int, Ratio]):
    """A ratio, or a curve of it over a count (rows of a GEMM)."""


def numbers(model: BaseModel, path: str = "") -> Iterator[tuple[str, Sourced]]:
    """Every sourced number below a model with its dotted field, in field order."""
    for name in type(model).model_fields:
        yield from _numbers(getattr(model, name), f"{path}.{name}" if path else name)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, Sourced]]:
    if isinstance(value, Sourced):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from numbers(value, path)
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _numbers(child, f"{path}.{key}")
    elif isinstance(value, tuple):
        for i, child in enumerate(value):
            yield from _numbers(child, f"{path}.{i}")


def _check_interval(value: Quantity, low: Quantity | None, high: Quantity | None) -> None:
    if (low and low.value > value.value) or (high and high.value < value.value):
        raise _refusal(f"{value} outside its interval", "low <= value <= high")


def _refusal(got: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError("sourced", "got {got}, allowed {allowed}", {"got": got, "allowed": allowed})
