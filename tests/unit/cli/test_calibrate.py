"""`moesim calibrate`: the same capture through the command, its tables and its page."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from moesim.calibrate.capture.file import CaptureFile
from moesim.calibrate.capture.rows import Row
from moesim.calibrate.page import figures, render
from moesim.calibrate.show import table, text
from moesim.cli import main


def _capture(path: Path) -> CaptureFile:
    file = CaptureFile(path, {"kit": 1}, {"name": "Toy <1>", "device": "cuda"})
    copies = [
        Row(
            section="copies",
            op="h2d",
            shape={"size": n},
            bytes=n,
            method=m,
            seconds=(1e-5 + n / bw,) * 3,
            cell="c",
            dtype="uint8",
        )
        for m, bw in (("pinned", 50e9), ("pageable", 10e9))
        for n in (4096, 1 << 20, 512 << 20)
    ]
    copies.append(Row(section="copies", op="h2d", shape={"size": 1 << 40}, method="pinned").as_skipped("does not fit"))
    duplex = [
        Row(section="copies", op="duplex", shape={"size": 8}, bytes=8, method=m, seconds=(s,))
        for m, s in (("h2d", 2.0), ("d2h", 3.0), ("both", 4.0))
    ]
    experts = [
        Row(section="experts", op="ffn", shape={"d_model": 8, "d_expert": f}, dtype="bfloat16", tokens=1, distinct=1,
            bytes=48 * f, flops=48 * f, method="looped eager", seconds=(1e-5 * f,), error_vs_float64=0.003)
        for f in (1, 2, 4)
    ]  # fmt: skip
    file.record("copies", [*copies, *duplex])
    file.record("experts", [*experts, experts[0].as_failed("wrong output </script>")])
    file.save()
    return CaptureFile.read(path)


def test_tables_say_medians_rates_and_what_was_not_run(tmp_path: Path) -> None:
    said = text(_capture(tmp_path / "c.gz"))
    assert re.search(r"h2d +size 512 MiB +uint8 +pinned +10\.7 ms +50 GB/s", said)
    assert "skipped: does not fit" in said and "failed: wrong output" in said
    assert re.search(r"duplex +size 8 B +both +4 s .* 50 % hidden", said)
    assert "14 rows: 12 fine, 1 skipped, 1 failed" in said


def test_long_reasons_do_not_widen_the_table() -> None:
    row = Row(section="a", op="b", method="m", seconds=(1.0,))
    assert max(map(len, table([row, row.as_skipped("x" * 500)]).splitlines()[:2])) < 60


def test_figures_plot_what_was_measured(tmp_path: Path) -> None:
    made = {title: traces for title, _, _, traces in figures(_capture(tmp_path / "c.gz"))}
    assert set(made) == {"Copies between host and device", "One copy", "Experts"}
    assert [trace["name"] for trace in made["Copies between host and device"]] == ["h2d pinned", "h2d pageable"]
    assert made["Copies between host and device"][0]["x"] == [4096, 1 << 20, 512 << 20]
    assert made["Copies between host and device"][0]["y"][-1] == pytest.approx(50, rel=0.01)
    [experts] = made["Experts"]
    assert experts["x"] == [48, 96, 192] and experts["y"] == pytest.approx([10, 20, 40])


def test_show_prints_tables_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture, page = tmp_path / "c.gz", tmp_path / "c.html"
    file = _capture(capture)
    assert main(["calibrate", "show", str(capture), "-o", str(page)]) == 0
    said = capsys.readouterr()
    assert said.out == text(file) and str(page) in said.err
    html = page.read_text()
    assert html == render(file)
    assert "Toy &lt;1&gt;" in html and "Toy <1>" not in html
    assert html.count("</script>") == 2 and len(html) < 6_000_000
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", html.partition("<script>")[0])
    data = json.loads(re.search(r"for \(const f of (\[.*\])\) Plotly", html).group(1))  # type: ignore[union-attr]
    assert [figure["id"] for figure in data] == ["figure-0", "figure-1", "figure-2"]


def test_show_of_no_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "x.gz"
    other.write_bytes(gzip.compress(b"{}"))
    assert main(["calibrate", "show", str(other)]) == 2
    assert "not a capture" in (said := capsys.readouterr().err) and "try: moesim calibrate show --help" in said
    assert main(["calibrate", "show", str(tmp_path / "none")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_capture_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "c.json.gz"
    words = ["calibrate", "capture", "--device", "cpu", "--quick", "--only", "launch", "-o", str(path)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}\n" and "cells done" in said.err and "skipped launch/graph" in said.err
    before = path.read_bytes()
    assert main(words) == 0
    assert "0 cells done, 5 were there" in capsys.readouterr().err and path.read_bytes() == before
    assert main([*words, "--seed", "1"]) == 2
    assert "other settings: seed 0 there, 1 now" in capsys.readouterr().err
    assert main(["calibrate", "capture", "--plan", "--quick", "--device", "cpu"]) == 0
    assert "all" in capsys.readouterr().out
