"""Quantities as pydantic field types: a string with a unit in the file, an exact Fraction in the model.

``Time``, ``Bytes``, ``Bandwidth``, ``Compute``, ``PerByte`` (time per byte), ``Ratio`` and ``Power`` validate in strict
mode from Python data and from JSON, serialise back to the text they were written as, and describe themselves in JSON
Schema as a string with a pattern and an example. A ratio may also be a bare number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from moesim.core.quantity import QuantityError, example, parse, pattern, show

__all__ = ["Bandwidth", "Bytes", "Compute", "PerByte", "Power", "Quantity", "Ratio", "Time", "Unit", "quantity"]


class Quantity:
    """An exact value in SI and the text it was written as; frozen; two are equal when their values are.

    Not a dataclass, because pydantic would then write a default into a JSON Schema as a map instead of as the text.
    """

    __slots__ = ("text", "value")
    value: Fraction
    text: str

    def __init__(self, value: Fraction, text: str) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "text", text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Quantity is frozen: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Quantity is frozen: cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __reduce__(self) -> tuple[type[Quantity], tuple[Fraction, str]]:
        return Quantity, (self.value, self.text)

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Without a `Unit` nothing can be read; pydantic uses this one to write a default into a JSON Schema."""
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


def quantity(value: Fraction | int, dimension: str) -> Quantity:
    """A Quantity made from a value in SI instead of from text."""
    return Quantity(Fraction(value), show(value, dimension))


@dataclass(frozen=True)
class Unit:
    """Annotation that makes a `Quantity` field read one dimension.

    `positive` refuses zero (rates are divided by), `whole` refuses fractions of the SI unit (half a byte).
    """

    dimension: str
    positive: bool = False
    whole: bool = False

    def read(self, data: object) -> Quantity:
        """Text (or a Quantity) to Quantity. Raises QuantityError."""
        if isinstance(data, Quantity):
            data = data.text
        value = parse(data, self.dimension)
        if self.positive and value == 0:
            raise QuantityError(f'"{data}"', f'more than zero, such as "{example(self.dimension)}"')
        if self.whole and value.denominator != 1:
            raise QuantityError(f'"{data}" (not a whole number of bytes)', f'such as "{example(self.dimension)}"')
        return Quantity(value, str(data).strip())

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(data: object) -> Quantity:
            try:
                return self.read(data)
            except QuantityError as error:
                raise PydanticCustomError(
                    "quantity", "got {got}, allowed {allowed}", {"got": error.got, "allowed": error.allowed}
                ) from error

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        text = {"type": "string", "pattern": pattern(self.dimension), "examples": [example(self.dimension)]}
        if self.dimension != "ratio":
            return text
        return {"anyOf": [text, {"type": "number", "minimum": 0}]}


Time = Annotated[Quantity, Unit("time")]
Bytes = Annotated[Quantity, Unit("bytes", whole=True)]
Bandwidth = Annotated[Quantity, Unit("bandwidth", positive=True)]
Compute = Annotated[Quantity, Unit("compute", positive=True)]
PerByte = Annotated[Quantity, Unit("per_byte")]
Ratio = Annotated[Quantity, Unit("ratio")]
Power = Annotated[Quantity, Unit("power")]
