"""Hit rate over the run."""

from __future__ import annotations

import numpy as np

from moesim.report.decimate import buckets
from moesim.report.figures.base import PERCENT, Figure, Legend, axis, layout
from moesim.report.palette import HIT, LATE, LINE
from moesim.report.text import count, percent
from moesim.results.folder import RunData

__all__ = ["hit_time"]

_POINTS = 200


def hit_time(run: RunData) -> Figure:
    """x: step, y: hits over lookups in stretches of steps, and from the start up to there."""
    title = "Hit rate over the run"
    hits, late = run.tokens["hits"].astype(float), run.tokens["late"].astype(float)
    lookups = hits + late + run.tokens["misses"]
    if not lookups.any():
        return Figure(id="hit-time", title=title, sentence="No expert was looked up.")
    # stretches long enough that one token's luck does not blur the picture
    points = min(_POINTS, max(10, run.n_steps // 4))
    begins, ends = buckets(run.n_steps, points)
    total = np.maximum(1.0, np.add.reduceat(lookups, begins))
    x = (np.array(begins) + np.array(ends) - 1) / 2
    running = np.cumsum(hits) / np.maximum(1.0, np.cumsum(lookups))
    at = np.array(ends) - 1
    span = count(ends[0] - begins[0], "step")
    traces = [
        _line(x, 100 * np.add.reduceat(hits, begins) / total, HIT, "hit", 2.0),
        _line(at, 100 * running[at], LINE, "hit, from the start", 1.4, "dash"),
    ]
    legend = [Legend(f"hit (stretches of {span})", HIT, (0,)), Legend("hit, from the start", LINE, (1,), dashed=True)]
    if late.any():
        traces.append(_line(x, 100 * np.add.reduceat(late, begins) / total, LATE, "late", 1.6))
        legend.append(Legend("late", LATE, (2,)))
    quarter = max(1, run.n_steps // 4)
    begin = float(hits[:quarter].sum() / max(1.0, lookups[:quarter].sum()))
    end = float(hits[-quarter:].sum() / max(1.0, lookups[-quarter:].sum()))
    decode = run.summary["hit_rate_decode"]
    while_decoding = f" While decoding it is {percent(decode)}." if decode is not None else ""
    return Figure(
        id="hit-time",
        title=title,
        sentence=f"The hit rate is {percent(begin)} in the first quarter of the steps and {percent(end)} in the last."
        + while_decoding,
        traces=traces,
        layout=layout(
            300,
            axis("step", range=[0, max(1, run.n_steps - 1)]),
            axis("share of lookups (%)", **PERCENT | {"range": [0, 101]}),
        ),
        legend=legend,
    )


def _line(x: object, y: object, color: str, words: str, width: float, dash: str = "solid") -> dict[str, object]:
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": words,
        "line": {"color": color, "width": width, "dash": dash},
        "hovertemplate": f"step %{{x:.0f}}: {words} %{{y:.1f}} %<extra></extra>",
    }  # fmt: skip
