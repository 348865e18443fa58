"""The route CSV of BigMoeOnEdge (plain or gzip): one line for each pick, with the bytes of an expert in its comments.

Columns turn, phase, step, layer, slot, expert, weight, residency, expert_bytes; phase 0 is prefill, whose `step` is the
token's position in the prompt, 1 is decode, whose `step` goes on counting. A turn is a sequence. llama.cpp computes
the last layer for the last prompt token alone, so other prompt tokens have no lines there: they are "not routed" (-1).
`# layer=0 expert_bytes=N` comments become `header["expert_bytes"]`, `model` and the expert counts are kept as well.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from moesim.errors import Fault, InputError
from moesim.routing.trace import NOT_ROUTED, RoutingTrace, as_ids, row_faults

__all__ = ["read"]

_COLUMNS = ("turn", "phase", "step", "layer", "slot", "expert", "weight")
_PAIR = re.compile(r"(\w+)=(\S+)")
_LIMIT = 1 << 24  # no count in such a file is larger; a stray number must not ask for all memory


def read(path: Path, *, n_experts: int | None = None) -> RoutingTrace:
    """Read a route CSV. Faults name line and column."""
    comments: list[str] = []
    try:
        table, scores, lines = _table(path, comments)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(Fault(message=f"is not a readable gzip file: {error}", file=path.name)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(Fault(message=f"is not readable CSV text: {error}", file=path.name)) from None
    turn, phase, step, layer, slot, expert = table.T
    header = _header(comments, path.name)
    n_layers = max(int(layer.max()) + 1, int(header.pop("n_layer", 0)))
    k = int(slot.max()) + 1
    total = int(header.pop("n_expert", n_experts or max(int(expert.max()) + 1, k)))

    # a token is a (turn, step); turns are sequences, steps go up within them without gaps
    turns, sequence = np.unique(turn, return_inverse=True)
    first, last = np.full(len(turns), _LIMIT), np.zeros(len(turns), dtype=np.int64)
    np.minimum.at(first, sequence, step)
    np.maximum.at(last, sequence, step)
    begin = np.concatenate([[0], np.cumsum(last - first + 1)]).astype(np.int64)
    token = begin[sequence] + step - first[sequence]
    tokens = int(begin[-1])
    if tokens * n_layers * k > 1 << 31:
        text = f"steps and layers span {tokens} tokens x {n_layers} layers x {k}: too many to be true"
        raise InputError(Fault(message=text, field="step", file=path.name))
    cell = (token * n_layers + layer) * k + slot
    order = np.argsort(cell, kind="stable")
    again = np.flatnonzero(np.diff(cell[order]) == 0)
    if len(again):
        line = lines[order[again[0] + 1]]
        raise InputError(
            Fault(message="the same turn, step, layer and slot again", field="slot", file=path.name, line=line)
        )
    is_prompt = np.zeros(tokens, dtype=bool)
    is_prompt[token[phase == 0]] = True
    prompt = np.add.reduceat(is_prompt, begin[:-1], dtype=np.int64)
    _check_prompt(is_prompt, token, phase, begin, prompt, lines, path.name)

    picks = np.full((tokens, n_layers, k), NOT_ROUTED, dtype=np.int64)
    weights = np.zeros(picks.shape, dtype=np.float32)
    picks.reshape(-1)[cell], weights.reshape(-1)[cell] = expert, scores
    line_of = np.zeros(tokens * n_layers, dtype=np.int64)
    line_of[cell // k] = lines
    checked = min(total, n_experts or total)
    faults = [
        Fault(
            message=message, field=column.rstrip("s"), got=got, allowed=allowed, file=path.name, line=int(line_of[row])
        )
        for (row, column, message, got, allowed), _ in zip(
            row_faults(picks.reshape(-1, k), weights.reshape(-1, k), checked), range(5), strict=False
        )
    ]
    if faults:
        raise InputError(*faults)
    if not (picks != NOT_ROUTED).any(axis=(1, 2)).all():
        gap = int(np.flatnonzero(~(picks != NOT_ROUTED).any(axis=(1, 2)))[0])
        s = int(np.searchsorted(begin, gap, side="right")) - 1
        text = f"turn {turns[s]}: step {gap - int(begin[s]) + int(first[s])} has no lines, later ones have"
        raise InputError(Fault(message=text, field="step", file=path.name))
    if first.any():
        header["first_position"] = first.tolist()
    trace = RoutingTrace(
        experts=as_ids(picks, total),
        weights=weights,
        sequence_ptr=begin,
        prompt_tokens=prompt.astype(np.int32),
        n_experts=total,
        names=tuple(f"turn {t}" for t in turns.tolist()),
        header=header,
        source=path.name,
    )
    return trace.validate(n_experts, file=path.name)


def _table(path: Path, comments: list[str]) -> tuple[Any, Any, Any]:
    """Integer columns [n, 6] (turn to expert), weights [n] and line numbers [n]; comment lines go to `comments`."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    rows: list[list[int]] = []
    scores: list[float] = []
    lines: list[int] = []
    with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
        numbered = _data_lines(file, comments)
        head_line, head = next(numbered, (1, ""))
        columns = head.strip().split(",")
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            faults = (Fault(message="column is missing", field=n, file=path.name, line=head_line) for n in missing)
            raise InputError(*faults)
        place = [columns.index(name) for name in _COLUMNS]
        for line, text in numbered:
            cells = text.rstrip("\r\n").split(",")
            if len(cells) != len(columns):
                message = f"{len(cells)} cells for {len(columns)} columns"
                raise InputError(Fault(message=message, file=path.name, line=line))
            try:
                row = [int(cells[p]) for p in place[:-1]]
                score = float(cells[place[-1]])
            except ValueError:
                raise InputError(_unreadable(cells, place, path.name, line)) from None
            if min(row) < 0 or max(row) >= _LIMIT or row[1] > 1 or not math.isfinite(score):
                raise InputError(_impossible(row, score, path.name, line))
            rows.append(row)
            scores.append(score)
            lines.append(line)
    if not rows:
        raise InputError(Fault(message="the trace is empty: no rows", file=path.name))
    return np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32), np.array(lines, dtype=np.int64)


def _data_lines(file: Any, comments: list[str]) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(file, start=1):
        if text.startswith("#"):
            comments.append(text)
        elif text.strip():
            yield number, text


def _unreadable(cells: list[str], place: list[int], file: str, line: int) -> Fault:
    for name, p in zip(_COLUMNS, place, strict=True):
        try:
            float(cells[p]) if name == "weight" else int(cells[p])
        except ValueError:
            return Fault(message="is not a number", field=name, got=cells[p], file=file, line=line)
    return Fault(message="is not readable", file=file, line=line)


def _impossible(row: list[int], score: float, file: str, line: int) -> Fault:
    if not math.isfinite(score):
        return Fault(field="weight", got=score, allowed="finite numbers >= 0", file=file, line=line)
    name, value = next(
        (n, v) for n, v in zip(_COLUMNS, row, strict=False) if not 0 <= v < (2 if n == "phase" else _LIMIT)
    )
    return Fault(
        field=name, got=value, allowed="0 | 1" if name == "phase" else "whole numbers >= 0", file=file, line=line
    )


def _header(comments: list[str], file: str) -> dict[str, Any]:
    header: dict[str, Any] = {}
    by_layer: dict[int, int] = {}
    for text in comments:
        pairs = dict(_PAIR.findall(text))
        try:
            if "layer" in pairs and "expert_bytes" in pairs:
                by_layer[int(pairs["layer"])] = int(pairs["expert_bytes"])
            if "model" in pairs:
                header["model"] = re.split(r"[\\/]", pairs["model"])[-1]
            header.update({name: int(pairs[name]) for name in ("n_layer", "n_expert") if name in pairs})
        except ValueError:
            raise InputError(
                Fault(message="a comment with an unreadable number", got=text.strip(), file=file)
            ) from None
    if any(not 0 < header.get(name, 1) < _LIMIT for name in ("n_layer", "n_expert")):
        raise InputError(Fault(message="a comment with an impossible count", got=str(header), file=file))
    if by_layer:
        if sorted(by_layer) != list(range(len(by_layer))):
            raise InputError(Fault(message="comments give expert_bytes for some layers only", file=file))
        header["expert_bytes"] = [by_layer[i] for i in range(len(by_layer))]
    return header


def _check_prompt(is_prompt: Any, token: Any, phase: Any, begin: Any, prompt: Any, lines: Any, file: str) -> None:
    """Prefill comes before decode, and a token belongs to one of them."""
    tokens = len(is_prompt)
    sequence = np.searchsorted(begin, np.arange(tokens), side="right") - 1
    leading = np.arange(tokens) - begin[sequence] < prompt[sequence]
    odd = np.flatnonzero(leading[token] != (phase == 0))
    if len(odd):
        text = "a prefill line at or after a decode step"
        raise InputError(Fault(message=text, field="phase", file=file, line=int(lines[odd[0]])))
