"""Storage: parallel lanes whose common rate depends on the size of a read and on how many lanes are busy."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from moesim.core.fields import Bandwidth, Bytes
from moesim.core.quantity import example, pattern
from moesim.hardware.curves import Frozen, interpolate
from moesim.hardware.sourced import BytesNumber, Count, Number

__all__ = ["LaneRow", "LaneTable", "Storage"]


class LaneRow(Number[Bytes, Bandwidth]):
    """Rate of all busy lanes together, over read size, when `lanes` of them are busy."""

    lanes: int = Field(ge=1, lt=2**16, description="busy lanes")


class LaneTable(Frozen):
    """Rate of all busy lanes together over (read bytes, busy lanes), in B/s.

    Linear in the read's bytes within a row and linear in the lanes between rows, both exact and clamped at their
    ends. A single rate (``bandwidth: "7 GB/s"``) is the same at every size and lane.
    """

    rows: Annotated[tuple[LaneRow, ...], Field(min_length=1, strict=False, description="by increasing lanes")]

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if isinstance(data, LaneTable) or (isinstance(data, dict) and "rows" in data):
            return data
        return {"rows": [{**(data if isinstance(data, dict) else {"value": data}), "lanes": 1}]}

    @model_validator(mode="after")
    def _check(self) -> LaneTable:
        if any(b.lanes <= a.lanes for a, b in pairwise(self.rows)):
            raise PydanticCustomError("lanes", "got rows out of order, allowed strictly increasing lanes")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        short = {"type": "string", "pattern": pattern("bandwidth"), "examples": [example("bandwidth")]}
        return {"anyOf": [short, handler(schema)]}

    @property
    def knots(self) -> tuple[int, ...]:
        """Every read size at which a row is given, ascending; empty if the rate does not depend on it."""
        return tuple(sorted({x for row in self.rows for x in row.knots}))

    def at(self, read_bytes: int, busy: int) -> Fraction:
        """Rate of all `busy` lanes together for reads of `read_bytes`."""
        return interpolate([row.lanes for row in self.rows], [row.at(read_bytes) for row in self.rows], busy)


class Storage(Frozen):
    """One drive."""

    title: str = Field(min_length=1)
    kind: Literal["nvme", "ufs"]
    capacity: BytesNumber
    lanes: Count = Field(description="reads in flight at once")
    read_bytes: BytesNumber = Field(description="largest single read; longer transfers are split")
    bandwidth: LaneTable = Field(description="rate of all busy lanes together over read size and busy lanes")

    @model_validator(mode="after")
    def _check(self) -> Storage:
        if not int(self.lanes) or not self.read_bytes.at():
            raise PydanticCustomError("storage", "got no lanes or reads of no bytes, allowed at least one of each")
        return self
