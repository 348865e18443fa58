"""A capture as one self-contained page: copies and experts against size, then the tables. Fetches nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Row
from moesim.calibrate.show import text
from moesim.core.atomic import write_text

__all__ = ["figures", "render", "write"]

_COLORS = ("#3b78c4", "#e5702d", "#1f9a86", "#8a63ad", "#efb632", "#c9405a", "#7f7fd5", "#8d949e")
_DASHES = ("solid", "dash", "dot", "dashdot")


def _traces(
    rows: Iterable[Row], name: Callable[[Row], str], x: Callable[[Row], float], y: Callable[[Row], float]
) -> list[dict[str, Any]]:
    """One line a name, points in the order of x."""
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        if row.ok and row.seconds:
            low, high = min(row.seconds), max(row.seconds)
            said = f"{row.median * 1e6:,.4g} us ({low * 1e6:,.4g} to {high * 1e6:,.4g}, {len(row.seconds)} samples)"
            lines.setdefault(name(row), []).append((x(row), y(row), said))
    made = []
    for i, (label, points) in enumerate(lines.items()):
        points.sort()
        made.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label,
                "x": [p[0] for p in points],
                "y": [p[1] for p in points],
                "text": [p[2] for p in points],
                "hovertemplate": "%{x:,} : %{y:,.4g}<br>%{text}<extra>%{fullData.name}</extra>",
                "line": {"color": _COLORS[i % len(_COLORS)], "dash": _DASHES[i // len(_COLORS) % len(_DASHES)]},
            }
        )
    return made


def figures(capture: CaptureFile) -> list[tuple[str, str, str, list[dict[str, Any]]]]:
    """(title, label of x, label of y, traces) of each figure that has data."""
    of = {
        (row.section, row.op): [r for r in capture.rows if (r.section, r.op) == (row.section, row.op)]
        for row in capture.rows
    }
    copies = [*of.get(("copies", "h2d"), []), *of.get(("copies", "d2h"), [])]
    experts = [r for r in of.get(("experts", "ffn"), []) if r.distinct in (r.tokens, 1)]

    def expert_name(row: Row) -> str:
        return f"{row.dtype} {row.method}, {row.tokens} tokens, {row.distinct} distinct"

    def expert_bytes(row: Row) -> float:
        return float(row.bytes / max(row.distinct, 1))

    def throughput(row: Row) -> float:
        return row.bytes / row.median / 1e9

    all_figures = [
        (
            "Copies between host and device",
            "bytes of one copy",
            "GB/s",
            _traces(copies, lambda r: f"{r.op} {r.method}", lambda r: float(r.bytes), throughput),
        ),
        (
            "One copy",
            "bytes of one copy",
            "us",
            _traces(copies, lambda r: f"{r.op} {r.method}", lambda r: float(r.bytes), lambda r: r.median * 1e6),
        ),
        (
            "Experts",
            "bytes of one expert and its rows",
            "us",
            _traces([r for r in experts if r.tokens <= 64], expert_name, expert_bytes, lambda r: r.median * 1e6),
        ),
        (
            "Device memory",
            "bytes read and written",
            "GB/s",
            _traces(
                [*of.get(("memory", "device_copy"), []), *of.get(("memory", "device_read"), [])],
                lambda r: f"{r.op.replace('_', ' ')} {r.method}",
                lambda r: float(r.bytes),
                throughput,
            ),
        ),
    ]
    return [figure for figure in all_figures if figure[3]]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
body {{ margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; }}
pre {{ overflow-x: auto; font-size: .8rem; }}
.figure {{ height: 30rem; margin: 1rem 0; }}
</style></head><body>
<h1>{title}</h1>
<p>{about}</p>
{figures}
<details open><summary>Every row</summary><pre>{tables}</pre></details>
<script>{plotly}</script>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches, ink = dark ? "#ddd" : "#222";
for (const f of {data}) Plotly.newPlot(f.id, f.traces, {{
  title: {{text: f.title}}, font: {{color: ink}}, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
  xaxis: {{type: "log", dtick: 1, exponentformat: "SI", title: {{text: f.x}}, gridcolor: "#8884"}},
  yaxis: {{type: "log", dtick: 1, title: {{text: f.y}}, gridcolor: "#8884"}}, margin: {{t: 50, r: 20}},
}}, {{responsive: true, displaylogo: false}});
</script></body></html>
"""


def render(capture: CaptureFile) -> str:
    """The page; the same capture gives the same text."""
    from plotly.offline import get_plotlyjs

    found = capture.fingerprint
    made = figures(capture)
    data = [
        {"id": f"figure-{i}", "title": title, "x": x, "y": y, "traces": traces}
        for i, (title, x, y, traces) in enumerate(made)
    ]
    return _PAGE.format(
        title=html.escape(f"Capture of {found.get('name', 'a device')}"),
        about=html.escape(", ".join(f"{name} {value}" for name, value in found.items())),
        figures="\n".join(f'<div class="figure" id="figure-{i}"></div>' for i in range(len(made))),
        tables=html.escape(text(capture)),
        # neither plotly's own text nor a name in the data may end the element it lies in
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        data=json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
    )


def write(capture: CaptureFile, path: Path) -> Path:
    """Render the page to `path`."""
    write_text(path, render(capture))
    return path
