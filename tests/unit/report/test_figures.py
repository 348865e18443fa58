"""Every figure: valid for plotly, one generated sentence; and runs with little in them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moesim.engine.reference import simulate
from moesim.plan.plan import Plan
from moesim.report.encode import to_json
from moesim.report.figures import RUN_FIGURES, Figure
from moesim.results.folder import RunData
from moesim.results.invariants import check
from moesim.results.metrics import summary
from moesim.results.result import Result
from moesim.results.tokens import layer_columns, residency_columns, token_columns, wait_columns
from tests.support.toy import rich_plan, toy_plan

Make = Callable[[RunData], Figure]


def valid(figure: Figure) -> None:
    """plotly's own validation, which page.js has no part in; "page" and "ink" are colors that page.js fills in."""
    import plotly.graph_objects as go

    traces = copy.deepcopy(figure.traces)
    for trace in traces:
        if trace.get("colorscale") == "page":
            trace["colorscale"] = "Viridis"
        if trace.get("line", {}).get("color") == "ink":
            trace["line"]["color"] = "black"
        if trace.get("insidetextfont", {}).get("color") == "ink":
            trace["insidetextfont"]["color"] = "black"
    go.Figure(data=traces, layout=figure.layout)


@pytest.mark.parametrize("make", RUN_FIGURES, ids=lambda m: m.__name__)
def test_a_figure_is_valid_and_says_what_it_shows(make: Make, run: RunData) -> None:
    figure = make(run)
    assert figure.traces and figure.height >= 150
    valid(figure)
    assert figure.sentence[0].isupper() or figure.sentence[0].isdigit()
    assert figure.sentence.endswith(".") and re.search(r"\d", figure.sentence)
    assert not re.search(r"\bnan\b|\bNone\b|\{|  |,\.", figure.sentence)
    for axis in ("xaxis", "yaxis"):
        titled = "title" in figure.layout[axis] or figure.layout[axis].get("type") == "category"
        assert titled, f"{axis} of {figure.id} says neither what it is nor its unit"
    owned = sorted(t for entry in figure.legend for t in entry.traces)
    assert owned == sorted(set(owned)) and all(t < len(figure.traces) for t in owned)


def test_ids_are_fixed_and_distinct(run: RunData) -> None:
    ids = [make(run).id for make in RUN_FIGURES]
    assert len(set(ids)) == len(ids) == 9
    assert all(re.fullmatch(r"[a-z-]+", i) for i in ids)


def of_plan(base: RunData, plan: Plan, result: Result) -> RunData:
    shape = {"n_layers": plan.n_layers, "timeline_steps": plan.timeline_steps, "path": plan.path}
    shape["is_moe"] = plan.is_moe.tolist()
    return replace(
        base,
        summary=summary(plan, result),
        tokens=token_columns(plan, result),
        layers=layer_columns(plan, result),
        residency=residency_columns(plan, result),
        waits=wait_columns(result),
        timeline=result.timeline,
        manifest=base.manifest | {"plan": base.manifest["plan"] | shape},
    )


def test_figures_of_a_run_without_decode_waits_or_timeline(run: RunData) -> None:
    plan = replace(toy_plan(layers=6, decode=0, slots=8), timeline_steps=None)
    small = of_plan(run, plan, simulate(plan))
    by_id = {figure.id: figure for figure in (make(small) for make in RUN_FIGURES)}
    for figure in by_id.values():
        assert figure.sentence.endswith(".")
        valid(figure)
    assert not by_id["timeline"].traces and "record: {timeline" in by_id["timeline"].sentence
    assert not by_id["latency"].traces
    assert by_id["breakdown"].sentence.startswith("The prefill of the mean batch")


@pytest.mark.parametrize(
    "more", [{}, {"path": "storage", "discipline": "fifo"}, {"evict": "after_layer", "into": "cache"}], ids=str
)
def test_figures_of_a_run_with_storage_prefetch_and_dense_layers(run: RunData, more: dict[str, Any]) -> None:
    plan = rich_plan(**more)
    result = simulate(plan)
    check(plan, result)
    rich = of_plan(run, plan, result)
    by_id = {figure.id: figure for figure in (make(rich) for make in RUN_FIGURES)}
    for figure in by_id.values():
        assert figure.traces and figure.sentence.endswith(".")
        valid(figure)
    assert {"storage 0", "storage 3", "stream"} <= {s.lane for s in result.timeline}
    assert by_id["timeline"].layout["yaxis"]["categoryarray"][:2] == ["storage 3", "storage 2"]
    assert "storage" in by_id["utilization"].sentence
    assert any(entry.text == "late" for entry in by_id["hit-layers"].legend)
    hover = [text for trace in by_id["timeline"].traces for text in trace["customdata"] if trace["name"] == "wait"]
    assert hover and all("transfer" in text for text in hover)


def test_a_run_folder_without_division_of_memory(run: RunData) -> None:
    bare = replace(run, manifest=run.manifest | {"fits": {}})
    assert not RUN_FIGURES[-1](bare).traces


def test_latency_keeps_every_extreme_when_decimated(run: RunData) -> None:
    steps = 120_000
    rng = np.random.default_rng(1)
    took = rng.integers(10**9, 2 * 10**9, steps)
    took[77_777] = 9 * 10**9
    columns = {name: np.zeros(steps, dtype=np.int64) for name in run.tokens}
    columns |= {"end_ps": np.cumsum(took), "start_ps": np.cumsum(took) - took, "prefill": np.zeros(steps, dtype=bool)}
    columns |= {"generated": np.ones(steps, dtype=np.int64)}
    figure = RUN_FIGURES[0](replace(run, tokens=columns))
    x, y = figure.traces[0]["x"], figure.traces[0]["y"]
    assert len(x) <= 50_000 and (np.diff(x) > 0).all()
    assert 77_777 in x and float(np.nanmax(y)) == 9.0
    assert re.match(r"[\d,]+ of 120,000 points drawn", figure.note)


def test_arrays_are_typed_and_nothing_ends_the_script() -> None:
    text = to_json({"a": np.array([1, 300]), "f": np.array([[0.5], [1.5]]), "n": "</script><b>\u2028"})
    assert "<" not in text and "\u2028" not in text
    value = json.loads(text)
    assert value["a"]["dtype"] == "u2" and value["n"] == "</script><b>\u2028"
    assert value["f"]["shape"] == "2, 1" and value["f"]["dtype"] == "f8"
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(float("nan"))
    with pytest.raises(TypeError, match="object"):
        to_json(object())
