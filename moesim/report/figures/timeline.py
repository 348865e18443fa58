"""The timeline window: what the stream, the link and every storage lane did, operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from moesim.report.figures.base import Figure, Legend, axis, layout
from moesim.report.palette import SLICES, label
from moesim.report.reasons import Reasons
from moesim.report.text import count, duration, percent, size
from moesim.results.folder import RunData
from moesim.results.result import Slice

__all__ = ["timeline"]

_MOST = 3500
"""Bars on the page; a longer window is cut there, and `trace.json.gz` has it all."""
_LAYERS_AT_FIRST = 5


def timeline(run: RunData) -> Figure:
    """x: ms from the start of the window, y: lane. Hover: step, layer, experts, bytes; for a wait, its reason."""
    title = "Timeline"
    window = run.manifest["plan"]["timeline_steps"]
    every = sorted(run.timeline, key=lambda s: (s.start, s.end))
    if not every:
        ask = "add `record: {timeline: {steps: [first, last]}}` to the scenario to see every operation of those steps"
        why = (
            f"Steps {window[0]} to {window[1]} of the window did nothing."
            if window
            else f"No window was recorded: {ask}."
        )
        return Figure(id="timeline", title=title, sentence=why)
    slices = every[:_MOST]
    origin = slices[0].start
    # first server on top; plotly counts categories from the bottom
    lanes = sorted({s.lane for s in slices}, key=lambda lane: ({"stream": 0, "link": 1}.get(lane, 2), len(lane), lane))
    reasons = Reasons(every)
    traces, legend = [_layers(slices, origin)], []
    for name in [n for n in SLICES if any(s.name == n for s in slices)] + sorted(
        {s.name for s in slices} - SLICES.keys()
    ):
        color = SLICES.get(name, ("", "#8d949e"))[1]
        legend.append(Legend(label(name), color, (len(traces),)))
        traces.append(_bars([s for s in slices if s.name == name], color, origin, reasons))
    end = max(s.end for s in slices)
    zooms = _zooms(slices, origin, end)
    waits = [s for s in every if s.name == "wait"]
    waited = sum(s.end - s.start for s in waits)
    whole = max(s.end for s in every) - origin
    first, last = window or (every[0].step, every[-1].step)
    steps = f"step {first}" if first == last else f"steps {first} to {last}"
    share = f"{duration(waited / 1e9)} in all ({percent(waited / whole)})"
    sentence = f"In {steps} ({duration(whole / 1e9)}) the stream waited {count(len(waits), 'time')}, {share}"
    if waits:
        longest = max(waits, key=lambda s: s.end - s.start)
        sentence += f"; the longest, {duration((longest.end - longest.start) / 1e9)} in layer {longest.layer}"
        why = reasons.why(longest)
        sentence += f": {why}" if why else ""
    cut = f"The first {_MOST:,} of {len(every):,} operations are drawn. " if len(every) > _MOST else ""
    return Figure(
        id="timeline",
        title=title,
        sentence=f"{sentence}.",
        traces=traces,
        layout=layout(
            130 + 46 * (1 + len(lanes)),
            axis("time from the start of the window (ms)", range=list(zooms[0][1:])),
            axis(type="category", categoryorder="array", categoryarray=[*lanes[::-1], "layer"], fixedrange=True),
            barmode="overlay",
            bargap=0.16,
            dragmode="pan",
            uniformtext={"minsize": 10, "mode": "hide"},
        ),
        legend=legend,
        zooms=zooms,
        note=f"{cut}Drag to move, use the buttons or pinch to zoom. The file trace.json.gz beside this page opens "
        "in ui.perfetto.dev.",
    )  # fmt: skip


def _layers(slices: list[Slice], origin: int) -> dict[str, Any]:
    """A lane on top that says which layer the stream is in: the spans of its operations there."""
    spans: list[list[int]] = []
    for item in slices:
        if item.lane != "stream" or item.name in ("head", "host_gap"):
            continue
        if spans and spans[-1][:2] == [item.step, item.layer]:
            spans[-1][3] = item.end
        else:
            spans.append([item.step, item.layer, item.start, item.end])
    spans = [s for s in spans if s[1] >= 0]
    return {
        "type": "bar", "orientation": "h", "name": "layer", "y": ["layer"] * len(spans), "width": 0.6,
        "base": np.array([(s[2] - origin) / 1e9 for s in spans]), "x": np.array([(s[3] - s[2]) / 1e9 for s in spans]),
        "marker": {"color": "rgba(130,140,152,0.16)", "line": {"width": 1, "color": "rgba(130,140,152,0.55)"}},
        "text": [str(s[1]) for s in spans], "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
        "insidetextfont": {"color": "ink"},
        "customdata": [f"<b>layer {s[1]}</b> {duration((s[3] - s[2]) / 1e9)}<br>step {s[0]}" for s in spans],
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def _bars(items: list[Slice], color: str, origin: int, reasons: Reasons) -> dict[str, Any]:
    name = items[0].name
    return {
        "type": "bar", "orientation": "h", "name": label(name), "y": [s.lane for s in items], "width": 0.8,
        "base": np.array([(s.start - origin) / 1e9 for s in items]),
        "x": np.array([(s.end - s.start) / 1e9 for s in items]),
        "marker": {"color": color, "line": {"width": 0}},
        "customdata": [_hover(s, reasons) for s in items], "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def _hover(item: Slice, reasons: Reasons) -> str:
    place = f"step {item.step}" + (f", layer {item.layer}" if item.layer >= 0 else "")
    lines = [f"<b>{label(item.name)}</b> {duration((item.end - item.start) / 1e9)}", place]
    if item.experts:
        shown = ", ".join(map(str, item.experts[:12])) + (", ..." if len(item.experts) > 12 else "")
        lines.append(f"{'expert' if len(item.experts) == 1 else 'experts'} {shown}")
    if item.bytes:
        lines.append(size(item.bytes))
    if item.transfer >= 0:
        lines.append(f"transfer {item.transfer}")
    if item.name == "wait":
        lines += reasons.why(item).split(", ")
    return "<br>".join(line for line in lines if line)


def _zooms(slices: list[Slice], origin: int, end: int) -> list[tuple[str, float, float]]:
    """Ranges for the buttons; the first is how the figure opens: a few layers, where bars can be told apart."""

    def ms(tick: int) -> float:
        return (tick - origin) / 1e9

    layers = [s.start for s in slices if s.lane == "stream" and s.name == "attention"]
    # a step that stalled shows more than one that did not
    waits = sorted((s for s in slices if s.name == "wait"), key=lambda s: s.start - s.end)
    middle = waits[0].start if waits else origin
    begin = max((i for i, start in enumerate(layers) if start <= middle), default=0)
    begin = max(0, min(begin - _LAYERS_AT_FIRST // 2, len(layers) - _LAYERS_AT_FIRST))
    few = layers[begin : begin + _LAYERS_AT_FIRST + 1]
    until = few[-1] if len(few) > _LAYERS_AT_FIRST else end
    made = [(f"{_LAYERS_AT_FIRST} layers", ms(few[0]), ms(until))] if len(few) > 1 else []
    steps = sorted({s.step for s in slices})
    if len(steps) > 1:
        first = [s for s in slices if s.lane == "stream" and s.step == steps[0]]
        if first:
            made.append((f"step {steps[0]}", ms(first[0].start), ms(max(s.end for s in first))))
    return [*made, ("whole window", 0.0, ms(end))]
