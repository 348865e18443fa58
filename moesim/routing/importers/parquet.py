"""Routing as one table: a row for each (sequence, position, layer) with columns experts[k] and weights[k].

The project writes this form, with what the columns do not say (experts, prompt lengths, header) as JSON under the key
`moesim` of the file's metadata. Files without that key are read too: they are taken as recordings of decoding alone
(prompt_tokens = 0) that may begin at any position, as the GPT-OSS expert fingerprints do; `first_position` keeps where.
A (position, layer) without a row was not routed.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moesim.core.atomic import write_bytes
from moesim.errors import Fault, InputError
from moesim.routing.trace import NOT_ROUTED, RoutingTrace, as_ids, row_faults

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read", "write"]

_KEY = b"moesim"
_NEEDED = ("sequence", "position", "layer", "experts")
_MAX_FAULTS = 5
_MAX_CELLS = 1 << 31  # a stray position or layer must not ask for all memory


def read(path: Path, *, n_experts: int | None = None) -> RoutingTrace:
    """Read a parquet file of routing. Rows in faults count from 0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(Fault(message=f"is not a readable parquet file: {error}", file=path.name)) from None
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise InputError(*(Fault(message="column is missing", field=name, file=path.name) for name in missing))
    meta = _metadata(table, path.name)
    names, sequence = _sequences(table, path.name)
    position = _integers(table, "position", path.name)
    layer = _integers(table, "layer", path.name)
    experts = _lists(table, "experts", np.int64, path.name)
    weights = _lists(table, "weights", np.float32, path.name) if "weights" in table.column_names else None
    if not len(experts):
        raise InputError(Fault(message="the trace is empty: no rows", file=path.name))
    if weights is not None and weights.shape != experts.shape:
        text = f"lists of {weights.shape[1]} beside experts of {experts.shape[1]}"
        raise InputError(Fault(message=text, field="weights", file=path.name))
    stated = meta.get("n_experts", n_experts)
    total = int(stated if stated is not None else max(int(experts.max()) + 1, experts.shape[1]))
    _check_rows(experts, weights, total if n_experts is None else min(total, n_experts), path.name)

    first, length = _spans(sequence, position, names, path.name)
    begin = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    n_layers = max(int(meta.get("n_layers", 0)), int(layer.max()) + 1)
    if int(begin[-1]) * n_layers * experts.shape[1] > _MAX_CELLS:
        text = f"positions and layers span {int(begin[-1])} tokens x {n_layers} layers: too many to be true"
        raise InputError(Fault(message=text, field="position", file=path.name))
    token = begin[sequence] + position - first[sequence]
    _check_unique(token * n_layers + layer, path.name)
    _check_gaps(token, begin, first, names, path.name)

    shape = (int(begin[-1]), n_layers, experts.shape[1])
    picks = np.full(shape, NOT_ROUTED, dtype=np.int64)
    picks[token, layer] = experts
    scores = None
    if weights is not None:
        scores = np.zeros(shape, dtype=np.float32)
        scores[token, layer] = weights
    header = dict(meta.get("header", {}))
    if first.any():
        header["first_position"] = first.tolist()
    trace = RoutingTrace(
        experts=as_ids(picks, total),
        weights=scores,
        sequence_ptr=begin,
        prompt_tokens=np.asarray(meta.get("prompt_tokens", [0] * len(names)), dtype=np.int32),
        n_experts=total,
        names=tuple(names) if meta.get("named", True) else (),
        header=header,
        source=meta.get("source") or path.name,
    )
    return trace.validate(n_experts, file=path.name)


def write(trace: RoutingTrace, path: Path) -> None:
    """Write one parquet file that `read` gives back array for array; rows of -1 are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    k, layers = trace.top_k, trace.n_layers
    first = np.asarray(trace.header.get("first_position", [0] * trace.n_sequences), dtype=np.int64)
    lengths = np.diff(trace.sequence_ptr)
    sequence = np.repeat(np.arange(trace.n_sequences), lengths)
    position = np.arange(trace.n_tokens) - trace.sequence_ptr[sequence] + first[sequence]
    picks = trace.experts.reshape(-1, k)
    routed = picks[:, 0] != NOT_ROUTED
    names = [trace.name(s) for s in range(trace.n_sequences)]
    columns: dict[str, Any] = {
        "sequence": pa.DictionaryArray.from_arrays(
            pa.array(np.repeat(sequence, layers)[routed].astype(np.int32)), pa.array(names)
        ),
        "position": pa.array(np.repeat(position, layers)[routed].astype(np.int32)),
        "layer": pa.array(np.tile(np.arange(layers, dtype=np.int16), trace.n_tokens)[routed]),
        "experts": pa.FixedSizeListArray.from_arrays(pa.array(picks[routed].reshape(-1)), k),
    }
    if trace.weights is not None:
        scores = trace.weights.reshape(-1, k)[routed]
        columns["weights"] = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), k)
    meta = {
        "n_experts": trace.n_experts,
        "n_layers": layers,
        "prompt_tokens": trace.prompt_tokens.tolist(),
        "named": bool(trace.names),
        "header": {key: value for key, value in trace.header.items() if key != "first_position"},
        "source": trace.source,
    }
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(meta, sort_keys=True).encode()})
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def _metadata(table: pa.Table, file: str) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        return {}
    try:
        meta = json.loads(raw)
        if not isinstance(meta, dict) or not isinstance(meta["header"], dict):
            raise TypeError("not a map")
        return {**meta, "n_experts": int(meta["n_experts"]), "n_layers": int(meta["n_layers"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(Fault(message=f"its metadata is damaged: {error!r}", field="moesim", file=file)) from None


def _no_nulls(column: pa.ChunkedArray[Any], name: str, file: str) -> None:
    if column.null_count:
        row = np.flatnonzero(column.is_null().to_numpy())[0]
        raise InputError(Fault(message=f"row {row}: no value", field=name, file=file))


def _sequences(table: pa.Table, file: str) -> tuple[list[str], NDArray[np.int64]]:
    """Names in order of first appearance, and each row's number among them."""
    import pyarrow as pa

    column = table.column("sequence")
    _no_nulls(column, "sequence", file)
    text = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return [str(name) for name in text.dictionary.to_pylist()], text.indices.to_numpy(zero_copy_only=False).astype(
        np.int64
    )


def _integers(table: pa.Table, name: str, file: str) -> NDArray[np.int64]:
    import pyarrow as pa

    column = table.column(name)
    _no_nulls(column, name, file)
    if not pa.types.is_integer(column.type):
        raise InputError(Fault(message=f"must be whole numbers: the column is {column.type}", field=name, file=file))
    values = column.to_numpy().astype(np.int64)
    if (values < 0).any():
        row = int(np.flatnonzero(values < 0)[0])
        raise InputError(Fault(message=f"row {row}: negative", field=name, got=int(values[row]), file=file))
    return np.asarray(values)


def _lists(table: pa.Table, name: str, dtype: type[np.int64] | type[np.float32], file: str) -> NDArray[Any]:
    """A column of equally long lists as [rows, k]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    _no_nulls(column, name, file)
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InputError(Fault(message=f"must be lists: the column is {kind}", field=name, file=file))
    fits = pa.types.is_integer if dtype is np.int64 else pa.types.is_floating
    if not fits(kind.value_type):
        raise InputError(Fault(message=f"lists of the wrong type: {kind.value_type}", field=name, file=file))
    length = pc.list_value_length(column).to_numpy()
    if len(length) and (length != length[0]).any():
        row = int(np.flatnonzero(length != length[0])[0])
        text = f"row {row}: a list of {length[row]} where others have {length[0]}"
        raise InputError(Fault(message=text, field=name, file=file))
    flat = pc.list_flatten(column)
    if flat.null_count:
        row = int(np.flatnonzero(flat.is_null().to_numpy())[0]) // int(length[0])
        raise InputError(Fault(message=f"row {row}: no value in the list", field=name, file=file))
    values = flat.to_numpy().astype(dtype)
    return np.asarray(values.reshape(len(length), -1) if len(length) else values.reshape(0, 1))


def _check_rows(experts: NDArray[np.int64], weights: NDArray[np.float32] | None, n_experts: int, file: str) -> None:
    """Ids, duplicates and weights of every row."""
    faults = [
        Fault(message=f"row {row}: {message}", field=column, got=got, allowed=allowed, file=file)
        for (row, column, message, got, allowed), _ in zip(
            row_faults(experts, weights, n_experts), range(_MAX_FAULTS), strict=False
        )
    ]
    if faults:
        raise InputError(*faults)


def _spans(
    sequence: NDArray[np.int64], position: NDArray[np.int64], names: list[str], file: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First position and number of positions of each sequence."""
    first = np.full(len(names), np.iinfo(np.int64).max)
    last = np.zeros(len(names), dtype=np.int64)
    np.minimum.at(first, sequence, position)
    np.maximum.at(last, sequence, position)
    return first, last - first + 1


def _check_unique(key: NDArray[np.int64], file: str) -> None:
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(again):
        rows = order[again[0]], order[again[0] + 1]
        text = f"rows {rows[0]} and {rows[1]}: the same sequence, position and layer"
        raise InputError(Fault(message=text, field="position", file=file))


def _check_gaps(
    token: NDArray[np.int64], begin: NDArray[np.int64], first: NDArray[np.int64], names: list[str], file: str
) -> None:
    seen = np.zeros(int(begin[-1]), dtype=bool)
    seen[token] = True
    if not seen.all():
        gap = int(np.flatnonzero(~seen)[0])
        s = int(np.searchsorted(begin, gap, side="right")) - 1
        text = f"sequence {names[s]}: position {gap - int(begin[s]) + int(first[s])} has no rows, later ones have"
        raise InputError(Fault(message=text, field="position", file=file))
