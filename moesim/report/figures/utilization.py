"""Use of compute, link and storage over the run."""

from __future__ import annotations

from typing import Any

import numpy as np

from moesim.report.decimate import buckets
from moesim.report.figures.base import Figure, Legend, axis, layout
from moesim.report.palette import LINE, SECOND
from moesim.report.text import listed, percent, rate
from moesim.results.folder import RunData

__all__ = ["utilization"]

_POINTS = 200
_WORK = ("attention", "router", "experts", "shared", "dense", "head")


def utilization(run: RunData) -> Figure:
    """y: share of the time in which the stream works; bytes that arrived over what the link (or storage) can carry."""
    title = "Use of compute and of what feeds it"
    duration = run.duration_ps.astype(float)
    if not duration.any():
        return Figure(id="utilization", title=title, sentence="No step took any time.")
    points = min(_POINTS, max(10, run.n_steps // 4))
    begins, ends = buckets(run.n_steps, points)
    x = (np.array(begins) + np.array(ends) - 1) / 2
    span = np.maximum(1.0, np.add.reduceat(duration, begins))
    work = np.sum([run.tokens[f"{name}_ps"] for name in _WORK], axis=0).astype(float)
    traces = [_line(x, 100 * np.add.reduceat(work, begins) / span, LINE, "stream computes")]
    legend = [Legend("stream computes", LINE, (0,))]
    summary, feeds = run.summary, []
    server = "storage" if run.manifest["plan"]["path"] == "storage" else "link"
    peak = summary[f"{server}_peak_bytes_per_s"]
    if peak:
        moved = np.add.reduceat(run.tokens["bytes"].astype(float), begins) * 1e12
        traces.append(_line(x, 100 * moved / span / peak, SECOND, f"{server} carries experts"))
        legend.append(Legend(f"{server} carries experts, of its {rate(peak)}", SECOND, (1,)))
    high = max([100.0, *(float(t["y"].max()) for t in traces)])
    for name, what in (("link", "the link is held"), ("storage", "the storage lanes are busy")):
        if summary[f"{name}_utilization"] is not None:
            feeds.append(f"{what} {percent(summary[f'{name}_utilization'])}")
    means = listed([f"the stream runs {percent(summary['compute_utilization'])} of the time", *feeds])
    return Figure(
        id="utilization",
        title=title,
        sentence=f"Over the whole run {means}.",
        traces=traces,
        layout=layout(300, axis("step", range=[0, max(1, run.n_steps - 1)]), axis("use (%)", range=[0, high * 1.01])),
        legend=legend,
        note="Bytes count in the step in which their transfer ends, so a stretch can pass 100 % by a little. "
        "Use of the link in the text counts its overheads, too; the curve counts bytes alone."
        if peak
        else "",
    )


def _line(x: Any, y: Any, color: str, words: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": words, "line": {"color": color, "width": 1.8},
        "hovertemplate": f"step %{{x:.0f}}: {words} %{{y:.1f}} %<extra></extra>",
    }  # fmt: skip
