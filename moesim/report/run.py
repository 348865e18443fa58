"""The page of one run, made from its folder alone."""

from __future__ import annotations

from pathlib import Path

from moesim.core.atomic import write_text
from moesim.report.figures import RUN_FIGURES
from moesim.report.headline import headline, key_figures
from moesim.report.limits import NOT_MODELED
from moesim.report.provenance import rows
from moesim.report.shell import render
from moesim.report.text import count, duration
from moesim.results.folder import FILES, PAGE, RunData, read
from moesim.results.metrics import GLOSSARY

__all__ = ["page", "write_report"]


def _subtitle(run: RunData) -> str:
    steps = run.summary["steps"]
    parts = [
        run.manifest["model"],
        run.manifest["machine"],
        f"{count(steps['decode'], 'decode step')} and {count(steps['prefill'], 'prefill step')}",
        f"{duration(run.summary['elapsed_ms'])} simulated",
    ]
    return " · ".join(part for part in parts if part)


def page(run: RunData) -> str:
    """The HTML of a run that was read."""
    manifest = run.manifest
    facts = [
        ("Routing", manifest["routing"]),
        ("Eviction", f"{manifest['plan']['eviction']}, {manifest['plan']['evict'].replace('_', ' ')}"),
        ("Prefetch", manifest["plan"]["prefetch"]),
        (
            "Path of an expert",
            {"link": "host memory, link", "storage": "storage", "storage+link": "storage, host memory, link"}[
                manifest["plan"]["path"]
            ],
        ),
        ("Engine", run.summary["engine"]),
        ("Seed", str(manifest["seed"])),
        ("Scenario", manifest["scenario_hash"]),
    ]
    return render(
        "run.html.j2",
        figures=[make(run) for make in RUN_FIGURES],
        title=manifest["title"] or manifest["name"],
        headline=headline(run),
        subtitle=_subtitle(run),
        tiles=key_figures(run),
        facts=[(name, text) for name, text in facts if text],
        notes=manifest["notes"],
        limits=NOT_MODELED,
        rows=rows(run.scenario, manifest["sources"]),
        glossary=GLOSSARY,
        undefined=run.summary["undefined"],
        files=FILES,
    )


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Write the page of a run, `report.html` in its folder or `output`; returns its path.

    Raises InputError when the folder is no run folder.
    """
    target = folder / PAGE if output is None else output
    write_text(target, page(read(folder)))
    return target
