"""What a figure of a page is: data and layout for plotly, and the sentence that says what it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["PERCENT", "Figure", "Legend", "axis", "layout"]

PERCENT: dict[str, Any] = {"range": [0, 100], "tickvals": [0, 25, 50, 75, 100]}
"""An axis of shares of a whole."""


@dataclass(frozen=True)
class Legend:
    """One entry of the legend that the page draws above the figure; it switches `traces` on and off."""

    text: str
    color: str
    traces: tuple[int, ...]
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure. `id` is fixed, so that the page has the same bytes every time."""

    id: str
    title: str
    sentence: str
    """What the figure shows, with its numbers."""
    traces: list[dict[str, Any]] = field(default_factory=list)
    """plotly traces; empty when there is nothing to draw, and `sentence` says why."""
    layout: dict[str, Any] = field(default_factory=dict)
    legend: list[Legend] = field(default_factory=list)
    zooms: list[tuple[str, float, float]] = field(default_factory=list)
    """Buttons that set the x range: (text, from, to)."""
    note: str = ""
    """Small print: decimation, definitions."""
    table: list[tuple[str, str]] = field(default_factory=list)
    """The main numbers as text, for readers without JavaScript and for print."""

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.layout.get("height", 0))


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with its title (with unit) and margins that grow with its labels."""
    made: dict[str, Any] = {"automargin": True, "zeroline": False, "fixedrange": False}
    return made | ({"title": {"text": title, "standoff": 8}} if title else {}) | more


def layout(height: int, x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What all figures share. Colors and fonts come from the page's own style when it draws."""
    return {
        "height": height,
        "margin": {"l": 48, "r": 18, "t": 12, "b": 44},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": "zoom",
        "xaxis": x,
        "yaxis": y,
    } | more
