"""The timeline window as Chrome trace JSON, for https://ui.perfetto.dev: gzipped, streamed, the same bytes every time.

One `tid` per lane (stream, link, storage 0, ...), so slices on a `tid` never overlap. Times are microseconds with six
decimals: the ticks are in there exactly. Counters: experts resident at the end of each step of the window, and demand
copies outstanding: counted from the end of the control operation whose lookup demanded them to the end of the copy.
Flow arrows run from the slice that brought an expert to the first group that computes it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moesim.plan.plan import Plan
from moesim.results.result import Result, Slice

__all__ = ["BRINGS", "events", "read_slices", "write_trace"]

BRINGS = ("copy", "prefetch", "read")
"""Names of slices that move an expert."""
_PID = 1


def _us(ticks: int) -> float:
    # exact in a double up to 2**53 ps = 9,007 s, and printed with all its digits
    return ticks / 10**6


def _lane_key(lane: str) -> tuple[int, str, int]:
    word, _, number = lane.partition(" ")
    return {"stream": 0, "link": 1}.get(word, 2), word, int(number) if number.isdigit() else 0


def _slice(item: Slice, tid: int) -> dict[str, Any]:
    args: dict[str, Any] = {"step": item.step, "layer": item.layer}
    if item.experts:
        args["experts"] = list(item.experts)
    if item.transfer >= 0:
        args["transfer"] = item.transfer
    if item.bytes:
        args["bytes"] = item.bytes
    return {
        "ph": "X", "pid": _PID, "tid": tid, "cat": item.lane, "name": item.name, "ts": _us(item.start),
        "dur": _us(item.end - item.start), "args": args,
    }  # fmt: skip


def _flows(slices: list[Slice], tids: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Arrows (expert's last slice of a transfer -> first group after it that computes the expert)."""
    last: dict[tuple[int, int, int], Slice] = {}
    for item in slices:
        if item.name in BRINGS and item.transfer >= 0:
            for expert in item.experts:
                key = (item.transfer, item.layer, expert)
                if key not in last or last[key].end < item.end:
                    last[key] = item
    arrived: dict[tuple[int, int], list[Slice]] = {}
    for (_, layer, expert), item in last.items():
        arrived.setdefault((layer, expert), []).append(item)
    number = 0
    for item in slices:
        if item.lane != "stream" or item.name != "experts":
            continue
        for expert in item.experts:
            waiting = arrived.get((item.layer, expert), [])
            for source in [s for s in waiting if s.end <= item.start]:
                waiting.remove(source)
                common = {"pid": _PID, "cat": "arrival", "name": "arrival", "id": number}
                yield {"ph": "s", **common, "tid": tids[source.lane], "ts": _us(source.start)}
                yield {"ph": "f", "bp": "e", **common, "tid": tids[item.lane], "ts": _us(item.start)}
                number += 1


def _counter(name: str, at: int, value: int) -> dict[str, Any]:
    return {"ph": "C", "pid": _PID, "name": name, "ts": _us(at), "args": {"value": value}}


def _counters(plan: Plan, result: Result, slices: list[Slice]) -> Iterator[dict[str, Any]]:
    first, last = plan.timeline_steps or (0, -1)
    for step in range(first, min(last, plan.n_steps - 1) + 1):
        yield _counter("experts resident", int(result.step_end[step]), int(result.residency[step].sum()))
    demanded = {(s.step, s.layer): s.end for s in slices if s.lane == "stream" and s.name == "control"}
    ends: dict[int, Slice] = {}
    for item in slices:
        if item.name == "copy" and item.transfer >= 0:
            known = ends.setdefault(item.transfer, item)
            ends[item.transfer] = max(known, item, key=lambda s: s.end)
    changes: dict[int, int] = {}
    for item in ends.values():
        asked = demanded.get((item.step, item.layer))
        if asked is not None and asked < item.end:
            changes[asked] = changes.get(asked, 0) + 1
            changes[item.end] = changes.get(item.end, 0) - 1
    depth = 0
    for at in sorted(changes):
        depth += changes[at]
        yield _counter("demand copies outstanding", at, depth)


def events(plan: Plan, result: Result) -> Iterator[dict[str, Any]]:
    """The trace events in file order: names of the lanes, slices by (start, lane), arrows, counters."""
    slices = [s for s in result.timeline if s.end > s.start]
    lanes = sorted({s.lane for s in slices}, key=_lane_key)
    tids = {lane: i + 1 for i, lane in enumerate(lanes)}
    yield {"ph": "M", "pid": _PID, "name": "process_name", "args": {"name": "moesim"}}
    for lane, tid in tids.items():
        yield {"ph": "M", "pid": _PID, "tid": tid, "name": "thread_name", "args": {"name": lane}}
        yield {"ph": "M", "pid": _PID, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}
    slices.sort(key=lambda s: (s.start, tids[s.lane], s.end))
    for item in slices:
        yield _slice(item, tids[item.lane])
    yield from _flows(slices, tids)
    yield from _counters(plan, result, slices)


def write_trace(plan: Plan, result: Result, path: Path) -> None:
    """Write `path` (.json.gz), one event a line; gzip's own time and name fields are left empty."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write(b'{"displayTimeUnit":"ns","traceEvents":[')
        between = b"\n"
        for event in events(plan, result):
            file.write(between + json.dumps(event, separators=(",", ":"), allow_nan=False).encode())
            between = b",\n"
        file.write(b"\n]}\n")


def read_slices(path: Path) -> list[Slice]:
    """The slices that `write_trace` wrote, ticks exact."""
    with gzip.open(path, "rb") as file:
        found = json.load(file)["traceEvents"]
    slices = []
    for event in found:
        if event["ph"] != "X":
            continue
        args, start = event["args"], round(event["ts"] * 10**6)
        slices.append(
            Slice(
                lane=event["cat"], name=event["name"], start=start, end=start + round(event["dur"] * 10**6),
                step=args["step"], layer=args["layer"], experts=tuple(args.get("experts", ())),
                transfer=args.get("transfer", -1), bytes=args.get("bytes", 0),
            )
        )  # fmt: skip
    return slices
