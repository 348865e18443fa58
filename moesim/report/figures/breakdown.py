"""Where the time of the mean decode step, and of a prefill, goes: one stacked bar each."""

from __future__ import annotations

from typing import Any

from moesim.report.figures.base import PERCENT, Figure, Legend, axis, layout
from moesim.report.palette import CLASSES, label
from moesim.report.text import duration, percent
from moesim.results.folder import RunData

__all__ = ["breakdown"]


def breakdown(run: RunData) -> Figure:
    """Shares of the step by class; the segments carry their own percentages, hover has the milliseconds."""
    rows = {"prefill": run.summary["breakdown_prefill_ms"], "decode step": run.summary["breakdown_ms"]}
    rows = {name: parts for name, parts in rows.items() if parts is not None and sum(parts.values()) > 0}
    if not rows:
        return Figure(id="breakdown", title="Where the time goes", sentence="No step took any time.")
    totals = {name: sum(parts.values()) for name, parts in rows.items()}
    names = [f"{name}<br>{duration(totals[name])}" for name in rows]
    traces: list[dict[str, Any]] = []
    legend: list[Legend] = []
    for key, (words, color) in CLASSES.items():
        shares = [parts[key] / totals[name] for name, parts in rows.items()]
        if not any(shares):
            continue
        legend.append(Legend(words, color, (len(traces),)))
        traces.append(
            {
                "type": "bar", "orientation": "h", "y": names, "x": [100 * s for s in shares], "name": words,
                "marker": {"color": color, "line": {"width": 0}}, "width": 0.62,
                "text": [f"{s:.0%}" if s >= 0.03 else "" for s in shares], "textposition": "inside",
                "insidetextanchor": "middle", "textangle": 0, "insidetextfont": {"color": "#10151c", "size": 13},
                "customdata": [
                    f"{duration(parts[key])} ({percent(s)})" for parts, s in zip(rows.values(), shares, strict=True)
                ],
                "hovertemplate": f"{words}: %{{customdata}}<extra></extra>",
            }
        )  # fmt: skip
    main = "decode step" if "decode step" in rows else "prefill"
    ranked = sorted(rows[main].items(), key=lambda item: -item[1])
    said = [f"{label(name)} {duration(ms)} ({percent(ms / totals[main])})" for name, ms in ranked[:3] if ms > 0]
    mean = "The mean decode step" if main == "decode step" else "The prefill of the mean batch"
    return Figure(
        id="breakdown",
        title="Where the time goes",
        sentence=f"{mean} takes {duration(totals[main])}; most of it: {', '.join(said)}.",
        traces=traces,
        layout=layout(
            90 + 66 * len(rows),
            axis("share of the step (%)", **PERCENT),
            axis(type="category"),
            barmode="stack",
            bargap=0.2,
            uniformtext={"minsize": 11, "mode": "hide"},
        ),
        legend=legend,
        note="Classes are exclusive and sum to the step. Work that overlaps a wait is not counted twice: a wait is "
        "time in which the accelerator runs nothing.",
        table=[(label(name), duration(ms)) for name, ms in ranked if ms > 0],
    )
