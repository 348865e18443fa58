"""The tidy schema: one row for each thing that was timed, skipped or failed, the same in all sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from statistics import median
from typing import Any

__all__ = ["SOURCE", "Cell", "Row", "Unsupported"]

SOURCE = "moesim.calibrate.capture"


class Unsupported(Exception):
    """What a cell wants does not exist or does not fit here: recorded as skipped, with the text as the reason."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One resumable piece of work of a section.

    section   name of the section
    op        what is timed
    params    what `run` needs to know, JSON values only; also tells cells of one op apart
    estimate  wall seconds it will take, for the plan and the budget (s)
    """

    section: str
    op: str
    params: Mapping[str, Any] = field(default_factory=dict)
    estimate: float = 1.0

    @property
    def key(self) -> str:
        """Name of the cell in the file: a resumed capture skips the keys it has.

        >>> Cell(section="copies", op="h2d", params={"bytes": 4096, "memory": "pinned"}).key
        'copies/h2d/bytes=4096,memory=pinned'
        """
        said = ",".join(f"{name}={value}" for name, value in self.params.items())
        return "/".join(part for part in (self.section, self.op, said) if part)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. `seconds` are samples of one call; sections say in `method` how a call was issued.

    section, op       who measured, what
    shape             sizes by name (ints or words): d_model, d_expert, context, streams, ...
    dtype             torch's name without `torch.`, or empty
    tokens, distinct  tokens and distinct experts of the call, 0 where the words mean nothing
    bytes, flops      of one call: bytes moved (or read and written), multiplies and adds
    seconds           raw samples (s), empty if skipped or failed
    method            pinned, pageable, loop, batch, graph, grouped, ...
    source            what measured
    device            cuda, cpu, ...: whose clock; host for host time
    ok                measured and, where the output was checked, right
    skipped, error    the reason if it was not run; what went wrong if it failed
    error_vs_float64  ||out - ref|| / ||ref||, None where nothing is computed
    cell              key of the cell it belongs to
    detail            anything more, JSON values (records of the executor)
    """

    section: str
    op: str
    shape: Mapping[str, int | str] = field(default_factory=dict)
    dtype: str = ""
    tokens: int = 0
    distinct: int = 0
    bytes: int = 0
    flops: int = 0
    seconds: tuple[float, ...] = ()
    method: str = ""
    source: str = SOURCE
    device: str = ""
    ok: bool = True
    skipped: str = ""
    error: str = ""
    error_vs_float64: float | None = None
    cell: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median of the samples (s); ValueError without samples."""
        if not self.seconds:
            raise ValueError(f"{self.section}/{self.op} has no samples: {self.skipped or self.error}")
        return median(self.seconds)

    def but(self, **changes: Any) -> Row:
        """The same row with some fields changed."""
        return replace(self, **changes)

    def as_skipped(self, reason: str) -> Row:
        """The row of something that was not run."""
        return replace(self, ok=False, skipped=reason, seconds=())

    def as_failed(self, reason: str) -> Row:
        """The row of something that went wrong; samples, if there are any, stay for the record."""
        return replace(self, ok=False, error=reason)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values without the fields that are at their default; samples to 7 digits."""
        data = {name: value for name, value in asdict(self).items() if value != _DEFAULTS.get(name)}
        if self.seconds:
            data["seconds"] = [float(f"{sample:.7g}") for sample in self.seconds]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """The row that `to_json` wrote; ValueError for a field that no row has."""
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown fields {', '.join(unknown)}")
        if missing := sorted({"section", "op"} - set(data)):
            raise ValueError(f"missing fields {', '.join(missing)}")
        return cls(**{**data, "seconds": tuple(data.get("seconds", ()))})


_DEFAULTS: dict[str, Any] = asdict(Row(section="", op=""))
