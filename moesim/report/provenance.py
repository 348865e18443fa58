"""The resolved scenario as rows: field, value, where the number comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moesim.results.manifest import without_folders

__all__ = ["Row", "rows"]


@dataclass(frozen=True)
class Row:
    """One leaf of the resolved scenario."""

    field: str
    value: str
    kind: str = ""
    """datasheet, measured, assumed, or empty for what is no physical number."""
    title: str = ""
    url: str = ""


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return without_folders(str(value))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(x, (Mapping, list, tuple)) for x in value):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{i}")
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(_text(x) for x in value) or "(empty)"
    else:
        yield path, "(empty)" if isinstance(value, Mapping) else _text(value)


def rows(scenario: Mapping[str, Any], sources: Mapping[str, Mapping[str, str]]) -> list[Row]:
    """Every leaf in the scenario's own order; a source on a map holds for all leaves below it.

    Keys of sources and the tables they point into are left out: the sources themselves stand beside the values. Links
    that are not http(s) are dropped: a page must not carry a script in a link.
    """
    made = []
    for field, value in _leaves(scenario, ""):
        parts = field.split(".")
        if "sources" in parts or (parts[-1] == "source" and len(parts) > 1):
            continue
        above = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        source = next((sources[name] for name in above if name in sources), {})
        url = source.get("url", "")
        safe = url if url.startswith(("http://", "https://")) else ""
        made.append(Row(field, value, source.get("kind", ""), source.get("title", ""), safe))
    return made
