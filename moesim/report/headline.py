"""The sentence on top of a page, and the key figures under it: all made from the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from moesim.report.palette import GROUPS
from moesim.report.text import count, duration, number, percent, rate, size
from moesim.results.folder import RunData
from moesim.results.metrics import GLOSSARY

__all__ = ["KeyFigure", "cause", "headline", "key_figures"]

_PHRASES: Final = {
    "link": "waits for the {link}",
    "storage": "waits for storage",
    "cache": "waits for room in the expert cache",
    "cpu": "waits for the CPU",
    "experts": "goes into computing experts and other feed-forward layers",
    "attention": "goes into attention, router and LM head",
    "control": "goes into control: synchronization, lookups, issuing copies",
    "collective": "goes into collectives",
}


@dataclass(frozen=True)
class KeyFigure:
    """One tile: value with unit, what it is, a second line, and the definition from the glossary."""

    value: str
    name: str
    more: str
    definition: str


def cause(breakdown: dict[str, float]) -> tuple[str, float]:
    """The group of classes that takes most of a step, and its share (0 for a step without duration).

    >>> cause({"attention": 3.0, "stall_link": 4.0, "experts": 1.0})
    ('link', 0.5)
    """
    total = sum(breakdown.values())
    sums = {group: sum(breakdown.get(name, 0.0) for name in names) for group, names in GROUPS.items()}
    group = max(sums, key=lambda g: sums[g])
    return group, sums[group] / total if total else 0.0


def link_name(title: str) -> str:
    """What a sentence calls the link.

    >>> link_name("PCIe 4.0 x16, pinned host memory to GPU"), link_name("host-to-device link")
    ('PCIe 4.0 x16 link', 'host-to-device link')
    """
    short = title.partition(",")[0].strip() or "host-to-device"
    return short if "link" in short.lower() else f"{short} link"


def headline(run: RunData) -> str:
    """Speed, the largest cause of time, and the hit rate, as one sentence."""
    s = run.summary
    link = link_name(run.manifest["link"])
    hits = f"{percent(s['hit_rate'])} of expert lookups hit the cache" if s["hit_rate"] is not None else ""
    if s["tokens_per_s"] and s["breakdown_ms"]:
        group, share = cause(s["breakdown_ms"])
        whose = "a token's time" if _single(run) else "a decode step's time"
        start = (
            f"{number(s['tokens_per_s'])} tokens/s: {percent(share, 2)} of {whose} {_PHRASES[group].format(link=link)}"
        )
    elif s["ttft_ms"] is not None and s["breakdown_prefill_ms"]:
        group, share = cause(s["breakdown_prefill_ms"])
        start = (
            f"First token after {duration(s['ttft_ms'])}: {percent(share, 2)} of it {_PHRASES[group].format(link=link)}"
        )
    else:
        start = f"{duration(s['elapsed_ms'])} simulated, no token generated"
    return "; ".join(part for part in (start, hits) if part)


def _single(run: RunData) -> bool:
    return int(run.tokens["generated"].max(initial=0)) <= 1


def key_figures(run: RunData) -> list[KeyFigure]:
    """The tiles under the headline."""
    s: dict[str, Any] = run.summary
    tiles: list[tuple[str, str, str, str]] = []
    if s["tokens_per_s"] is not None:
        tiles.append(
            ("tokens_per_s", number(s["tokens_per_s"]), "tokens/s", count(s["tokens"], "token") + " generated")
        )
    if s["tpot_ms"] is not None:
        tiles.append(("tpot_ms", duration(s["tpot_ms"]["mean"]), "per token", f"p99 {duration(s['tpot_ms']['p99'])}"))
    if s["ttft_ms"] is not None:
        tiles.append(("ttft_ms", duration(s["ttft_ms"]), "to first token", f"at most {duration(s['ttft_max_ms'])}"))
    if s["hit_rate"] is not None:
        late = s["late"] / s["lookups"]
        beside = f"late {percent(late)}" if s["late"] else f"of {s['lookups']:,} lookups"
        tiles.append(("hit_rate", percent(s["hit_rate"]), "hit rate", beside))
    if s["bytes_per_token"] is not None:
        wasted = f"{size(s['bytes_wasted'])} wasted" if s["bytes_wasted"] else f"{size(s['bytes_loaded'])} in all"
        tiles.append(("bytes_per_token", size(s["bytes_per_token"]), "loaded per token", wasted))
    for name in ("link", "storage"):
        key = f"{name}_utilization"
        if s[key] is not None:
            peak = s[f"{name}_peak_bytes_per_s"]
            tiles.append((key, percent(s[key]), f"{name} in use", f"of {rate(peak)}" if peak else ""))
    waits = f"{percent(s['stall_share'])} of decode waits" if s["stall_share"] is not None else ""
    tiles.append(("compute_utilization", percent(s["compute_utilization"]), "compute in use", waits))
    return [KeyFigure(value, name, more, GLOSSARY[key].text) for key, value, name, more in tiles]
