"""The one look of all pages: self-contained HTML with one plotly.js.

For screens wide and narrow, dark and light, for print, and for readers without JavaScript.

Nothing is fetched: the page's own content security policy forbids it. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from moesim.report.encode import to_json
from moesim.report.figures.base import Figure

__all__ = ["render"]


def _figure_json(figure: Figure) -> Markup:
    value = {
        "id": figure.id,
        "data": figure.traces,
        "layout": figure.layout,
        "zooms": [[begin, end] for _, begin, end in figure.zooms],
    }
    return Markup(to_json(value))


def render(template: str, *, figures: Sequence[Figure], **context: Any) -> str:
    """The page as text. `template` lies in `moesim/report/page`; `context` is what it names besides the figures."""
    environment = Environment(
        loader=PackageLoader("moesim.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def raw(name: str) -> Markup:
        source, _, _ = environment.loader.get_source(environment, name)  # type: ignore[union-attr]
        return Markup(source)

    return environment.get_template(template).render(
        figures=figures,
        figure_json=_figure_json,
        style=raw("style.css"),
        script=raw("page.js"),
        # plotly's own text must not end the element it lies in
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
        **context,
    )
