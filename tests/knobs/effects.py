"""Run a row and judge what came of it.

What `then` may say:

    tpot_ms.mean: up             a figure of the summary went up, down, or changed (`change`)
    result.hits: change          the same of an array or counter of the result (arrays go up by their sum)
    error: "text"                the scenario is refused with this text in the message
    page                         the page's table of the scenario shows the new value beside the field
    page: {field: value}         it shows this value beside this field
    page: "text"                 the page shows this text, which it did not before
    manifest: "text"             likewise manifest.json
    manifest: {at: [...], is: x} what manifest.json says at these keys becomes x

Rows that look at page or manifest and share a scenario are applied together, so that one folder is written for all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import moesim as ms
from tests.knobs.rows import SCENARIOS, Row, rows

__all__ = ["check", "figure", "judge", "run", "scenario"]

FILES = ("page", "manifest")


def scenario(on: str, changes: Mapping[str, Any]) -> ms.Scenario:
    """A base scenario with changes."""
    return _scenario(on, json.dumps(changes))


def run(on: str, changes: Mapping[str, Any]) -> ms.Run:
    """Its run; both are kept, since many rows share them."""
    return _run(on, json.dumps(changes))


@cache
def _scenario(on: str, text: str) -> ms.Scenario:
    changes = json.loads(text)
    path = SCENARIOS / f"{on}.yaml"
    if "extends" not in changes:
        made = ms.load(path)
        return made.replace(changes) if changes else made
    with TemporaryDirectory() as folder:  # what a file extends is no field of what it makes
        lines = [line for line in path.read_text().splitlines() if not line.startswith("extends:")]
        other = Path(folder) / path.name
        other.write_text("\n".join([*lines, f"extends: {changes.pop('extends')}"]))
        return ms.load(other).replace(changes)


@cache
def _run(on: str, text: str) -> ms.Run:
    return ms.simulate(_scenario(on, text))


def check(row: Row) -> None:
    """Fail unless the change has the effect that its row states."""
    if "error" in row.then:
        scenario(row.on, row.given)
        with pytest.raises(ms.InputError) as caught:
            ms.simulate(scenario(row.on, {**row.given, **row.changes}))
        assert row.then["error"] in str(caught.value)
        return
    figures = {name: way for name, way in row.then.items() if name not in FILES}
    if figures:
        before, after = run(row.on, row.given), run(row.on, {**row.given, **row.changes})
        for name, way in figures.items():
            judge(name, way, before, after)
    if "page" in row.then:
        _check_page(row)
    if "manifest" in row.then:
        _check_manifest(row)


def judge(name: str, way: str, before: ms.Run, after: ms.Run) -> None:
    """Fail unless a figure went the way it should: up, down, change."""
    old, new = figure(before, name), figure(after, name)
    assert old is not None and new is not None, f"{name} is not defined: {old} before, {new} after"
    if way == "change":
        assert _differ(old, new), f"{name} did not change: {old}"
        return
    low, high = (np.sum(old), np.sum(new)) if way == "up" else (np.sum(new), np.sum(old))
    assert way in ("up", "down"), f"{name}: {way} is no direction"
    assert low < high, f"{name} did not go {way}: {np.sum(old)} before, {np.sum(new)} after"


def figure(made: ms.Run, name: str) -> Any:
    """A figure of the summary, or `result.`: an array or counter of the result, by dotted name."""
    first, *rest = name.split(".")
    value: Any = getattr(made.result, rest.pop(0)) if first == "result" else made.summary[first]
    for step in rest:
        value = value[step]
    return value


def _differ(old: Any, new: Any) -> bool:
    if isinstance(old, np.ndarray):
        return not np.array_equal(old, new)
    return bool(old != new)


def _check_page(row: Row) -> None:
    before, after = (text["page"] for text in _both(row))
    said = row.then["page"]
    if isinstance(said, str):
        _check_text(said, before, after)
        return
    for field, value in (said or row.changes).items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        assert _table(after).get(field) == shown
        assert _table(before).get(field) != shown


def _check_manifest(row: Row) -> None:
    before, after = (text["manifest"] for text in _both(row))
    said = row.then["manifest"]
    if isinstance(said, str):
        _check_text(said, before, after)
        return
    old, new = json.loads(before), json.loads(after)
    for key in said["at"]:
        old, new = old.get(key, {}), new.get(key, {})
    assert new == said["is"] != old


def _check_text(text: str, before: str, after: str) -> None:
    assert text in after, f"{text!r} is not shown"
    assert text not in before, f"{text!r} is shown without the change too"


def _both(row: Row) -> tuple[dict[str, str], dict[str, str]]:
    """What the run folder says without the changes and with those of all rows of the kind on this scenario."""
    alike = [
        one for many in rows().values() for one in many
        if set(FILES) & set(one.then) and (one.on, one.given) == (row.on, row.given)
    ]  # fmt: skip
    changes: dict[str, Any] = {}
    for one in alike:
        for field, value in one.changes.items():
            assert changes.setdefault(field, value) == value, f"two rows set {field} on {row.on}"
    return _texts(row.on, json.dumps(row.given)), _texts(row.on, json.dumps({**row.given, **changes}))


@cache
def _texts(on: str, text: str) -> dict[str, str]:
    with TemporaryDirectory() as folder:
        saved = _run(on, text).save(Path(folder) / "run", finish=ms.write_report)
        page, manifest = (saved / name for name in ("report.html", "manifest.json"))
        return {"page": page.read_text(encoding="utf-8"), "manifest": manifest.read_text(encoding="utf-8")}


class _Cells(HTMLParser):
    """The cells of the table of scenario fields."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.inside = dict(attrs).get("id") == "table-scenario"
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.inside and tag == "td":
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@cache
def _table(page: str) -> dict[str, str]:
    """Field -> value as the page shows them."""
    parser = _Cells()
    begin = page.index('id="table-scenario"')
    begin = page.rindex("<table", 0, begin)
    parser.feed(page[begin : page.index("</table>", begin)])
    return {cells[0].strip(): cells[1].strip() for cells in parser.rows if len(cells) > 1}
