"""Hits, late hits and misses by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from moesim.report.figures.base import PERCENT, Figure, Legend, axis, layout
from moesim.report.palette import HIT, LATE, MISS
from moesim.report.text import percent
from moesim.results.folder import RunData

__all__ = ["hit_layers"]


def hit_layers(run: RunData) -> Figure:
    """x: layer, y: shares of its lookups, all steps."""
    title = "Hit rate by layer"
    sums = {name: run.grid(name).sum(axis=0) for name in ("hits", "late", "misses")}
    lookups = sums["hits"] + sums["late"] + sums["misses"]
    layers = np.flatnonzero(lookups)
    if not len(layers):
        return Figure(id="hit-layers", title=title, sentence="No expert was looked up.")
    share = {name: values[layers] / lookups[layers] for name, values in sums.items()}
    traces: list[dict[str, Any]] = []
    legend: list[Legend] = []
    for name, words, color in (("hits", "hit", HIT), ("late", "late", LATE), ("misses", "miss", MISS)):
        if not share[name].any():
            continue
        legend.append(Legend(words, color, (len(traces),)))
        traces.append(
            {
                "type": "bar", "x": layers, "y": 100 * share[name], "name": words, "customdata": sums[name][layers],
                "marker": {"color": color, "line": {"width": 0}},
                "hovertemplate": f"layer %{{x}}: {words} %{{y:.1f}} % (%{{customdata}} lookups)<extra></extra>",
            }
        )  # fmt: skip
    low, high = layers[share["hits"].argmin()], layers[share["hits"].argmax()]
    worst, best = float(share["hits"].min()), float(share["hits"].max())
    return Figure(
        id="hit-layers",
        title=title,
        sentence=f"{percent(run.summary['hit_rate'])} of all lookups hit; layer {low} hits least ({percent(worst)}), "
        f"layer {high} most ({percent(best)}).",
        traces=traces,
        layout=layout(
            300,
            axis("layer"),
            axis("share of its lookups (%)", **PERCENT),
            barmode="stack",
            bargap=0.15,
        ),
        legend=legend,
        note="Late: the expert was on its way when it was looked up. Late is not a hit.",
    )
