"""What fits where: the division of each memory."""

from __future__ import annotations

from typing import Any

from moesim.report.figures.base import PERCENT, Figure, Legend, axis, layout
from moesim.report.text import amount, listed, percent
from moesim.results.folder import RunData

__all__ = ["memory"]

_COLORS = {
    "reserve": "#8d949e", "resident weights": "#3b78c4", "KV cache": "#8a63ad", "pinned experts": "#86d0bf",
    "expert cache": "#1f9a86", "experts": "#efb632", "DRAM cache of experts": "#e5702d", "unused": "#c3c9d1",
}  # fmt: skip
_MORE = ("#5aa469", "#c9405a", "#9cc4ee", "#b8a98f")


def memory(run: RunData) -> Figure:
    """One bar per memory, in GiB."""
    title = "What lies where"
    fits = run.manifest["fits"]
    if not fits:
        return Figure(id="memory", title=title, sentence="The run folder does not say how memory was divided.")
    parts: dict[str, dict[str, int]] = {}
    for name, division in fits.items():
        for label, size in division["parts"].items():
            parts.setdefault(label, {})[name] = int(size)
        free = int(division["capacity"]) - sum(division["parts"].values())
        if free > 0:
            parts.setdefault("unused", {})[name] = free
    parts = {k: v for k, v in parts.items() if k != "unused"} | (
        {"unused": parts["unused"]} if "unused" in parts else {}
    )
    names = list(reversed(list(fits)))
    labels = {n: f"{n.replace(' memory', '<br>memory')}<br>{amount(fits[n]['capacity'])}" for n in names}
    spare = iter(_MORE * len(parts))
    traces: list[dict[str, Any]] = []
    legend: list[Legend] = []
    for label, sizes in parts.items():
        color = _COLORS.get(label) or next(spare)
        legend.append(Legend(label, color, (len(traces),)))
        shares = [100 * sizes.get(n, 0) / max(1, fits[n]["capacity"]) for n in names]
        traces.append(
            {
                "type": "bar", "orientation": "h", "y": [labels[n] for n in names], "x": shares, "name": label,
                "width": 0.62, "marker": {"color": color, "line": {"width": 0}},
                "text": [amount(sizes.get(n, 0)) if s >= 5 else "" for n, s in zip(names, shares, strict=True)],
                "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
                "insidetextfont": {"color": "#10151c", "size": 13},
                "customdata": [
                    f"{amount(sizes.get(n, 0))} ({percent(s / 100)})" for n, s in zip(names, shares, strict=True)
                ],
                "hovertemplate": f"{label}: %{{customdata}}<extra></extra>",
            }
        )  # fmt: skip
    said = []
    for name, division in fits.items():
        inside = [
            f"{amount(size)} {label}" for label, size in sorted(division["parts"].items(), key=lambda p: -p[1])[:3]
        ]
        said.append(f"of {amount(division['capacity'])} {name}, {listed(inside)}" if inside else "")
    text = "; ".join(s for s in said if s)
    return Figure(
        id="memory",
        title=title,
        sentence=f"{text[:1].upper()}{text[1:]}." if text else "Nothing is placed in any memory.",
        traces=traces,
        layout=layout(
            90 + 66 * len(names),
            axis("share of the memory (%)", **PERCENT),
            axis(type="category"),
            barmode="stack",
            uniformtext={"minsize": 11, "mode": "hide"},
        ),
        legend=legend,
        table=[(f"{name}: {label}", amount(size)) for name, d in fits.items() for label, size in d["parts"].items()],
    )
