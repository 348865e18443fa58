"""The trace: lanes that never overlap, ticks kept, arrows from copies to what they brought."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from moesim.plan.plan import Plan
from moesim.results.perfetto import events, read_slices, write_trace
from moesim.results.result import Result

Run = tuple[Plan, Result]


def test_slices_of_a_lane_never_overlap(toy: Run) -> None:
    lanes = defaultdict(list)
    for event in events(*toy):
        if event["ph"] == "X":
            lanes[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(lanes) == 2
    for spans in lanes.values():
        # to a tenth of a tick: doubles of microseconds
        assert all(a[1] <= b[0] + 1e-7 for a, b in pairwise(sorted(spans)))


def test_arrows_join_a_copy_with_the_group_it_feeds(toy: Run) -> None:
    _, result = toy
    arrows = [e for e in events(*toy) if e["ph"] in "sf"]
    starts = {e["id"]: e for e in arrows if e["ph"] == "s"}
    ends = {e["id"]: e for e in arrows if e["ph"] == "f"}
    assert starts.keys() == ends.keys()
    slices = {(s.lane, s.start): s for s in result.timeline}
    brought = set()
    for number, start in starts.items():
        copy = slices["link", round(start["ts"] * 10**6)]
        group = slices["stream", round(ends[number]["ts"] * 10**6)]
        assert copy.name == "copy" and group.name == "experts"
        assert copy.layer == group.layer and set(copy.experts) <= set(group.experts) and copy.end <= group.start
        brought.add(copy.transfer)
    assert brought == {s.transfer for s in result.timeline if s.name == "copy"}


def test_counters(toy: Run) -> None:
    plan, result = toy
    values = defaultdict(list)
    for event in events(*toy):
        if event["ph"] == "C":
            values[event["name"]].append(event["args"]["value"])
    assert plan.timeline_steps is not None
    first, last = plan.timeline_steps
    assert values["experts resident"] == result.residency[first : last + 1].sum(axis=1).tolist()
    depth = values["demand copies outstanding"]
    assert min(depth) == 0 and depth[-1] == 0 and max(depth) == int(result.misses[first : last + 1].max())


def test_ticks_survive_the_file_and_the_bytes_repeat(toy: Run, tmp_path: Path) -> None:
    one, other = tmp_path / "a.json.gz", tmp_path / "b.json.gz"
    write_trace(*toy, one)
    write_trace(*toy, other)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(read_slices(one), key=str) == sorted(toy[1].timeline, key=str)
