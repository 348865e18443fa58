"""The project's own form: a folder of .npy arrays and meta.json, opened without copying (memory-mapped)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesim.core.atomic import new_folder
from moesim.errors import Fault, InputError
from moesim.routing.trace import RoutingTrace

__all__ = ["read", "write"]

_FORMAT = "moesim-routing-1"
_META = {"format": str, "n_experts": int, "names": list, "header": dict, "source": str}


def read(folder: Path, *, n_experts: int | None = None) -> RoutingTrace:
    """Open a folder written by `write`. Arrays are memory-mapped; files that hold pickled objects are refused."""
    meta = _meta(folder)
    trace = RoutingTrace(
        experts=_array(folder, "experts"),
        weights=_array(folder, "weights") if (folder / "weights.npy").exists() else None,
        sequence_ptr=_array(folder, "sequence_ptr"),
        prompt_tokens=_array(folder, "prompt_tokens"),
        n_experts=meta["n_experts"],
        names=tuple(map(str, meta["names"])),
        header=meta["header"],
        source=meta["source"] or folder.name,
    )
    return trace.validate(n_experts, file=folder.name)


def write(trace: RoutingTrace, folder: Path) -> None:
    """Write (or replace) the folder in one step. Raises InputError where something else stands."""
    meta = {
        "format": _FORMAT,
        "n_experts": trace.n_experts,
        "names": list(trace.names),
        "header": dict(trace.header),
        "source": trace.source,
    }
    arrays = {"experts": trace.experts, "sequence_ptr": trace.sequence_ptr, "prompt_tokens": trace.prompt_tokens}
    with new_folder(folder, ("meta.json",)) as scratch:
        (scratch / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        if trace.weights is not None:
            np.save(scratch / "weights.npy", np.ascontiguousarray(trace.weights), allow_pickle=False)


def _meta(folder: Path) -> dict[str, Any]:
    file = f"{folder.name}/meta.json"
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(Fault(message="a routing folder needs it, and it is not there", file=file)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(Fault(message=f"is not readable JSON: {error}", file=file)) from None
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        got = meta.get("format") if isinstance(meta, dict) else None
        raise InputError(Fault(message="another format", field="format", got=got, allowed=_FORMAT, file=file))
    faults = [
        Fault(message=f"must be a {kind.__name__}", field=name, got=meta.get(name), file=file)
        for name, kind in _META.items()
        if not isinstance(meta.get(name), kind) or isinstance(meta.get(name), bool)
    ]
    if faults:
        raise InputError(*faults)
    return meta


def _array(folder: Path, name: str) -> NDArray[Any]:
    file = f"{folder.name}/{name}.npy"
    try:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(Fault(message="a routing folder needs it, and it is not there", file=file)) from None
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        # numpy reports objects as ValueError of either wording; a user must learn that nothing was unpickled
        text = "holds pickled objects, which are never loaded" if _pickled(error) else f"is no .npy array: {error}"
        raise InputError(Fault(message=text, file=file)) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(Fault(message="is an archive of arrays, not one array", file=file))
    return array


def _pickled(error: Exception) -> bool:
    return "pickle" in str(error) or "object" in str(error).lower()
