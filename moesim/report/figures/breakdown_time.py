"""Where the time of decode steps goes, over the run: a stacked area."""

from __future__ import annotations

from typing import Any

import numpy as np

from moesim.report.decimate import buckets, mean
from moesim.report.figures.base import Figure, Legend, axis, layout
from moesim.report.palette import CLASSES
from moesim.report.text import count, percent
from moesim.results.folder import RunData

__all__ = ["breakdown_time"]

_POINTS = 400


def breakdown_time(run: RunData) -> Figure:
    """x: step, y: ms by class, means over stretches of decode steps."""
    title = "Where the time goes, over the run"
    decode = np.flatnonzero(~run.prefill)
    if not len(decode):
        return Figure(id="breakdown-time", title=title, sentence="No decode step was run.")
    begins, ends = buckets(len(decode), _POINTS)
    x = decode[np.array(begins)]
    traces: list[dict[str, Any]] = []
    legend: list[Legend] = []
    for key, (words, color) in CLASSES.items():
        values = run.tokens[f"{key}_ps"][decode] / 1e9
        if not values.any():
            continue
        legend.append(Legend(words, color, (len(traces),)))
        traces.append(
            {
                "type": "scatter", "mode": "lines", "stackgroup": "all", "x": x, "y": mean(values, _POINTS),
                "name": words, "line": {"width": 0, "color": color}, "fillcolor": color,
                "hovertemplate": f"step %{{x}}: {words} %{{y:.3f}} ms<extra></extra>",
            }
        )  # fmt: skip
    stalls = sum(run.tokens[f"{k}_ps"][decode].astype(float) for k in CLASSES if k.startswith("stall"))
    share = np.asarray(stalls) / np.maximum(1, run.duration_ps[decode])
    tenth = max(1, len(decode) // 10)
    early, late = float(share[:tenth].mean()), float(share[-tenth:].mean())
    most = ends[0] - begins[0]
    return Figure(
        id="breakdown-time",
        title=title,
        sentence=f"Waiting takes {percent(early)} of the first {count(tenth, 'decode step')} and {percent(late)} of "
        f"the last {tenth:,}.",
        traces=traces,
        layout=layout(
            340,
            axis("step", range=[int(decode[0]), int(max(x[-1], decode[0] + 1))]),
            axis("time per decode step (ms)", rangemode="tozero"),
        ),
        legend=legend,
        note=f"Each point is the mean of {most:,} or more decode steps." if most > 1 else "",
    )
