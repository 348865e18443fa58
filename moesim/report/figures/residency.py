"""How many experts of each layer are resident, over the run: a heat map."""

from __future__ import annotations

import numpy as np

from moesim.report.decimate import buckets
from moesim.report.figures.base import Figure, axis, layout
from moesim.report.text import count, number, percent
from moesim.results.folder import RunData

__all__ = ["residency"]

_COLUMNS = 500


def residency(run: RunData) -> Figure:
    """x: step, y: MoE layer, color: experts resident at the end of the step."""
    title = "Experts resident, by layer"
    layers = np.flatnonzero(np.array(run.manifest["plan"]["is_moe"], dtype=bool))
    experts = int(run.manifest["plan"]["n_experts"])
    if not len(layers) or not run.n_steps:
        return Figure(id="residency", title=title, sentence="The model has no routed experts.")
    table = run.grid("resident")[:, layers]
    _, ends = buckets(run.n_steps, _COLUMNS)
    at = np.array(ends) - 1
    last = table[-1]
    low, high = int(last.min()), int(last.max())
    end = f"every layer holds {low}" if low == high else f"layers hold {low} to {high}"
    share = run.summary["resident_share"]
    # a table without variation needs no room
    height = 180 if table.min() == table.max() else max(260, min(520, 120 + 7 * len(layers)))
    thin = f"One column per {count(ends[0], 'step')}: the state at its last step." if ends[0] > 1 else ""
    return Figure(
        id="residency",
        title=title,
        sentence=f"On average {percent(share)} of all routed experts are resident ({number(float(table.mean()))} of "
        f"{experts} per layer); at the end {end}.",
        traces=[
            {
                "type": "heatmap", "x": at, "y": layers, "z": table[at].T, "colorscale": "page", "zmin": 0,
                "zmax": max(1, int(table.max())), "zsmooth": False,
                "colorbar": {"thickness": 12, "outlinewidth": 0, "title": {"text": "experts", "side": "top"}},
                "hovertemplate": "step %{x}, layer %{y}: %{z} experts resident<extra></extra>",
            }
        ],
        layout=layout(height, axis("step"), axis("layer", autorange="reversed")),
        note=thin,
    )  # fmt: skip
