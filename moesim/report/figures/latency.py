"""Latency of each step: decode as a line, prefill marked."""

from __future__ import annotations

from typing import Any

import numpy as np

from moesim.report.decimate import extremes
from moesim.report.figures.base import Figure, Legend, axis, layout
from moesim.report.palette import LINE, MISS
from moesim.report.text import count, duration
from moesim.results.folder import RunData

__all__ = ["latency"]


def latency(run: RunData) -> Figure:
    """x: step, y: its duration in ms. Prefill steps are off the scale of decoding and marked at its foot."""
    decode = np.flatnonzero(~run.prefill)
    ms = run.duration_ps / 1e9
    tpot, title = run.summary["tpot_ms"], "Latency of every token"
    if not len(decode) or tpot is None:
        sentence = "No token was generated after a first one, so there is no latency to plot."
        return Figure(id="latency", title=title, sentence=sentence)
    kept = decode[extremes(ms[decode])]
    prefill = np.flatnonzero(run.prefill)
    # the line breaks at a prefill: what comes after it is another batch
    shown = np.sort(np.concatenate([kept, prefill]))
    line = np.where(run.prefill[shown], np.nan, ms[shown]).astype(np.float32)
    # every step in its place needs no x, which halves the page's share of this figure
    x = {"x": shown} if len(shown) < run.n_steps else {"x0": 0, "dx": 1}
    batch = bool((run.tokens["generated"][decode] > 1).any())
    what = "decode step (one token of every sequence)" if batch else "token"
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", **x, "y": line, "line": {"color": LINE, "width": 1.3},
            "hovertemplate": "step %{x}: %{y:.2f} ms<extra></extra>", "connectgaps": False,
        }
    ]  # fmt: skip
    legend = [Legend("decode step", LINE, (0,))]
    first = ""
    if len(prefill):
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": prefill, "y": np.zeros(len(prefill)), "cliponaxis": False,
                "marker": {"symbol": "triangle-up", "size": 11, "color": MISS},
                "customdata": [f"{duration(float(ms[s]))}, {int(run.tokens['tokens'][s]):,} tokens" for s in prefill],
                "hovertemplate": "step %{x}: prefill, %{customdata}<extra></extra>",
            }
        )  # fmt: skip
        legend.append(Legend("prefill (off scale: hover for its time)", MISS, (1,)))
        first = f" The first token of a sequence comes after {duration(run.summary['ttft_ms'])} on average."
    for name, dash in (("p50", "dot"), ("p99", "dash")):
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": [0, run.n_steps - 1], "y": [tpot[name]] * 2,
                "hoverinfo": "skip", "line": {"color": "ink", "width": 1, "dash": dash},
            }
        )  # fmt: skip
        legend.append(Legend(f"{name} = {duration(tpot[name])}", "ink", (len(traces) - 1,), dashed=True))
    top = float(ms[decode].max())
    note = f"{len(kept):,} of {len(decode):,} points drawn: lowest and highest of each stretch."
    return Figure(
        id="latency",
        title=title,
        sentence=f"Half of all {what}s take at most {duration(tpot['p50'])}, 99 % at most "
        f"{duration(tpot['p99'])} ({count(len(decode), 'decode step')}).{first}",
        traces=traces,
        layout=layout(
            340,
            axis("step", range=[-0.01 * run.n_steps, 1.01 * run.n_steps]),
            axis("duration of the step (ms)", range=[0, top * 1.08]),
        ),
        legend=legend,
        note=note if len(kept) < len(decode) else "",
        table=[(f"{p} of later tokens", duration(tpot[p])) for p in ("mean", "p50", "p95", "p99")],
    )
