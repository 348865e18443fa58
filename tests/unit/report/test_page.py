"""The page as text: self-contained, deterministic, escaped, small; the headline names the right cause."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.report import write_report
from moesim.report.headline import cause, headline, key_figures
from moesim.report.provenance import rows
from moesim.report.run import page
from moesim.results.folder import RunData
from moesim.results.result import BREAKDOWN, Slice


def without_plotly(html: str) -> str:
    from plotly.offline import get_plotlyjs

    plotly = get_plotlyjs().replace("</script", "<\\/script")
    assert html.count(plotly) == 1
    return html.replace(plotly, "")


def test_the_page_is_one_file_of_fixed_bytes(run_folder: Path, tmp_path: Path) -> None:
    first = write_report(run_folder, tmp_path / "a.html").read_bytes()
    assert write_report(run_folder, tmp_path / "b.html").read_bytes() == first
    assert len(first) < 6_000_000
    own = without_plotly(first.decode())
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//(?!www\.nvidia\.com/ada\.pdf)""", own)
    assert "default-src 'none'" in own and "<noscript>" in own
    assert str(tmp_path) not in own and "/home/somebody" not in own


def test_the_largest_page_stays_below_six_megabytes(run: RunData) -> None:
    steps, slices = 50_000, 10_000
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(10**6, 10**9, steps) for name in run.tokens}
    columns |= {"prefill": np.zeros(steps, dtype=bool), "generated": np.ones(steps, dtype=np.int64)}
    columns["end_ps"] = np.cumsum(rng.integers(10**9, 10**10, steps))
    columns["start_ps"] = np.concatenate([[0], columns["end_ps"][:-1]])
    step, layer = np.divmod(np.arange(steps * run.n_layers), run.n_layers)
    tables = {
        names: {"step": step, "layer": layer}
        | {n: rng.integers(0, 9, len(step)) for n in source if n not in ("step", "layer")}
        for names, source in (("layers", run.layers), ("residency", run.residency))
    }
    reads = [
        Slice(f"storage {i % 16}", "read", i * 10**7, (i + 15) * 10**7, 31_234, 47, (1_023,), 10**6 + i, 2**21)
        for i in range(slices)
    ]
    large = replace(run, tokens=columns, timeline=reads, layers=tables["layers"], residency=tables["residency"])
    html = page(large)
    assert len(html.encode()) < 6_000_000
    assert "The first 3,500 of 10,000 operations are drawn." in html


def test_text_of_the_user_is_escaped(run: RunData) -> None:
    evil = replace(run, manifest=run.manifest | {"title": "<img src=x onerror=alert(1)>", "notes": ["</script><b>"]})
    own = without_plotly(page(evil))
    assert "<img" not in own and "<script>alert" not in own and "</script><b>" not in own
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in own


def test_the_page_says_what_was_asked_of_it(run: RunData) -> None:
    own = without_plotly(page(run)).replace("<wbr>", "")
    for text in ("fitted to 1,200 recorded tokens", "capacity does not divide by 32", "Not modeled", "1008 GB/s",
                 "NVIDIA Ada GPU architecture", "hardware.links.host_to_device.copy_overhead"):  # fmt: skip
        assert text in own
    assert len(re.findall(r'class="plot" id="fig-', own)) == 9


def breakdown(**parts: float) -> dict[str, float]:
    return dict.fromkeys(BREAKDOWN, 0.0) | parts


def told(run: RunData, **changes: object) -> str:
    return headline(replace(run, summary=run.summary | changes))


def test_the_headline_names_the_largest_cause(run: RunData) -> None:
    same = {"tokens_per_s": 13.2, "hit_rate": 0.723}
    assert told(run, **same, breakdown_ms=breakdown(stall_link=41.0, experts=34.0, attention=25.0)) == (
        "13.2 tokens/s: 41 % of a token's time waits for the PCIe link; 72.3 % of expert lookups hit the cache"
    )
    assert "52 % of a token's time goes into attention" in told(
        run, **same, breakdown_ms=breakdown(attention=30, head=22, experts=48)
    )
    assert "60 % of a token's time waits for storage" in told(
        run, **same, breakdown_ms=breakdown(stall_storage=60, experts=40)
    )
    assert "goes into control" in told(
        run, **same, breakdown_ms=breakdown(control=3, management=3, host_gap=3, experts=8)
    )
    assert cause(breakdown())[1] == 0.0


def test_the_headline_of_a_run_without_decode(run: RunData) -> None:
    text = told(run, tokens_per_s=None, breakdown_ms=None, ttft_ms=1234.0)
    assert text.startswith("First token after 1.23 s: ")
    assert told(run, tokens_per_s=None, breakdown_ms=None, ttft_ms=None, hit_rate=None, elapsed_ms=2.0) == (
        "2.00 ms simulated, no token generated"
    )


def test_tiles_leave_out_what_is_not_defined(run: RunData) -> None:
    names = {tile.name for tile in key_figures(run)}
    assert {"tokens/s", "hit rate", "link in use"} <= names and "storage in use" not in names
    assert all(tile.definition for tile in key_figures(run))


def test_sources_hold_for_what_lies_below_and_links_are_links() -> None:
    scenario = {
        "sources": {"k": {"title": "t"}},
        "a": {"source": "k", "b": "1 s", "c": [1, 2], "d": None},
        "e": {"f": [{"g": True}]},
    }
    made = rows(
        scenario, {"a": {"kind": "assumed", "title": "t", "url": "javascript:alert(1)"}, "a.b": {"kind": "measured"}}
    )
    assert [(r.field, r.value, r.kind, r.url) for r in made] == [
        ("a.b", "1 s", "measured", ""), ("a.c", "1, 2", "assumed", ""), ("a.d", "none", "assumed", ""),
        ("e.f.0.g", "true", "", ""),
    ]  # fmt: skip


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
