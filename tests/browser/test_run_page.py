"""The page of a run in a real browser, without network: everything drawn, nothing fetched, nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesim.engine.reference import simulate
from moesim.report import write_report
from moesim.results.folder import save
from tests.support.toy import toy_info, toy_plan

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
FIGURES = {
    "latency": 4, "breakdown": 7, "breakdown-time": 7, "timeline": 9, "hit-layers": 2, "hit-time": 2, "residency": 1,
    "utilization": 2, "memory": 6,
}  # fmt: skip

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = toy_plan()
    folder = save(simulate(plan), plan, toy_info(), tmp_path_factory.mktemp("runs") / "toy")
    return write_report(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.is_file():
        pytest.skip("needs the system's Chromium at /usr/bin/chromium (Debian package chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test)")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield opened
        opened.close()


class Visit:
    """An open page and what went wrong on it."""

    def __init__(self, browser: Any, report: Path, width: int, **more: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **more)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.goto(report.as_uri())
        if more.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-ready=yes]", timeout=60_000)


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Any]:
    visits: list[Visit] = []

    def go(width: int, **more: Any) -> Visit:
        visits.append(Visit(browser, report, width, **more))
        return visits[-1]

    yield go
    for made in visits:
        made.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_everything_is_drawn_and_nothing_is_fetched(
    visit: Any, report: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    made = visit(width, color_scheme=scheme)
    page = made.page
    assert made.errors == []
    assert [url for url in made.requests if not url.startswith("data:")] == [report.as_uri()]
    drawn = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.plot')]"
        ".map(d => [d.id.slice(4), d.data ? d.data.length : 0]))"
    )
    assert drawn == FIGURES
    empty = page.evaluate(
        "[...document.querySelectorAll('.plot')].filter(d => !d.querySelector('.main-svg')).map(d => d.id)"
    )
    assert empty == []
    marks = page.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".map(d => d.querySelectorAll('path.js-line, .bars path, .hm image, path.js-fill').length)"
    )
    assert all(count > 0 for count in marks), marks
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    assert (tmp_path / f"{width}-{scheme}.png").stat().st_size > 20_000


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_leaves_its_figure_and_no_axis_labels_overlap(visit: Any, width: int) -> None:
    page = visit(width).page
    outside = page.evaluate(
        """[...document.querySelectorAll('.plot')].flatMap(d => {
            const box = d.getBoundingClientRect();
            return [...d.querySelectorAll('.xtick text, .ytick text, .xtitle, .ytitle, .cbtitle text')].filter(t => {
                const b = t.getBoundingClientRect();
                return b.left < box.left - 1 || b.right > box.right + 1 ||
                    b.bottom > box.bottom + 1 || b.top < box.top - 1;
            }).map(t => d.id + ': ' + t.textContent);
        })"""
    )
    assert outside == []
    overlapping = page.evaluate(
        """[...document.querySelectorAll('.plot')].flatMap(d => {
            const boxes = [...d.querySelectorAll('.xtick text')].map(t => [t.textContent, t.getBoundingClientRect()]);
            boxes.sort((a, b) => a[1].left - b[1].left);
            return boxes.slice(1).filter((b, i) => b[1].left < boxes[i][1].right).map(b => d.id + ': ' + b[0]);
        })"""
    )
    assert overlapping == []


def test_legend_zoom_and_search_work(visit: Any) -> None:
    made = visit(1280)
    page = made.page
    legend = page.locator("button[data-figure=hit-layers][data-traces='1']")
    legend.click()
    assert page.evaluate("document.getElementById('fig-hit-layers').data[1].visible") is False
    assert legend.get_attribute("aria-pressed") == "false"
    page.locator("button[data-figure=timeline]", has_text="whole window").click()
    low, high = page.evaluate("document.getElementById('fig-timeline').layout.xaxis.range")
    assert low == 0 and high > 100
    page.locator("summary", has_text="Scenario, resolved").click()
    page.locator("input[data-table=scenario]").fill("copy_overhead assumed")
    shown = page.locator("#table-scenario tbody tr:visible")
    assert shown.count() == 1 and "10 us" in shown.first.inner_text()
    page.locator("input[data-table=scenario]").fill("no such field")
    assert page.locator("[data-empty=scenario]").is_visible()
    assert made.errors == []


def test_hover_tells_why_the_stream_waited(visit: Any) -> None:
    page = visit(1280).page
    texts = page.evaluate("document.getElementById('fig-timeline').data.filter(t => t.name === 'wait')[0].customdata")
    assert any("on the link itself" in t and "transfer" in t and "expert" in t for t in texts)
    box = page.evaluate(
        """(() => { const p = document.querySelectorAll('#fig-timeline .bars path');
            const wide = [...p].map(e => e.getBoundingClientRect())
                .filter(b => b.width > 60 && b.left > 150 && b.right < 1200).pop();
            return [wide.left + wide.width / 2 + scrollX, wide.top + wide.height / 2 + scrollY]; })()"""
    )
    page.evaluate(f"window.scrollTo(0, {box[1] - 400})")
    page.mouse.move(box[0], 400)
    page.wait_for_selector("#fig-timeline .hovertext", timeout=5_000)
    assert "layer" in page.locator("#fig-timeline .hovertext").first.text_content()


def test_without_javascript_the_page_still_speaks(visit: Any) -> None:
    page = visit(390, java_script_enabled=False).page
    text = page.locator("main").inner_text()
    assert "The figures need JavaScript" in text and "p99 of later tokens" in text and "tokens/s" in text
