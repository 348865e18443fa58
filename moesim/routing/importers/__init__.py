"""Files that hold routing, one module for each format; `read` tells them apart by content."""

from __future__ import annotations

from pathlib import Path

from moesim.errors import Fault, InputError
from moesim.routing.importers import csv_phone, npy_folder, parquet
from moesim.routing.trace import RoutingTrace

__all__ = ["read", "write"]


def read(path: str | Path, *, n_experts: int | None = None) -> RoutingTrace:
    """The routing in a file or folder, checked: npy folder, parquet, or route CSV (plain or gzip).

    `n_experts` is the model's number of experts, against which ids are checked; without it the file's own statement
    counts or, failing that, the largest id seen. Raises InputError naming the file and, where it can, row and column.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return npy_folder.read(path, n_experts=n_experts)
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PAR1":
            return parquet.read(path, n_experts=n_experts)
        if head[:2] == b"\x1f\x8b" or path.name.endswith((".csv", ".csv.gz")):
            return csv_phone.read(path, n_experts=n_experts)
    except FileNotFoundError as error:
        missing = Path(str(error.filename or path))
        raise InputError(Fault(message="no such file", field="routing.path", got=str(missing))) from None
    except PermissionError:
        raise InputError(Fault(message="may not be read", field="routing.path", got=str(path))) from None
    allowed = "a folder of .npy with meta.json, a .parquet file, a route .csv or .csv.gz"
    raise InputError(Fault(message="is no routing trace", allowed=allowed, file=path.name))


def write(trace: RoutingTrace, path: str | Path) -> None:
    """Write a checked trace: one parquet file if the name ends in .parquet, else a folder of .npy (memory-mappable)."""
    path = Path(path)
    trace.validate()
    if path.suffix == ".parquet":
        parquet.write(trace, path)
    elif path.suffix:
        raise InputError(Fault(message="a trace is written as NAME.parquet or as a folder", got=path.name))
    else:
        npy_folder.write(trace, path)
