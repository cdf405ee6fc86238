"""Charts for the report, as SVG that takes its colours from the page, so that it reads on light and on dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require

Line = tuple[NDArray[np.float64], NDArray[np.float64]]  # x and y, of one length

SERIES = 8  # colours of the page; further lines are dashed
SIZE = (4.2, 3.0)  # inches
# Colours that stand for the page's: CSS knows these names, matplotlib only these values.
_STAND_INS = {f"#a0b0{i:02x}": f"var(--series-{i})" for i in range(1, SERIES + 1)}
_INK, _FAINT = "#a0c001", "#a0c002"
_STAND_INS |= {_INK: "var(--ink)", _FAINT: "var(--faint)"}
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def line_chart(lines: Mapping[str, Line], x: str, y: str, *, name: str) -> str:
    """Lines over [0, 1] x [0, 1] -> an SVG element, without a legend: colours follow the order of `lines`.

    Args:
        lines: label -> points.
        x, y: what the axes show.
        name: of this chart, unlike that of any other in one page.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """

    def draw(axes: Any) -> None:
        for i, (across, up) in enumerate(lines.values()):
            axes.plot(across, up, color=colour(i), linewidth=1.6, linestyle="-" if i < SERIES else "--")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x, ylabel=y)

    return _chart(draw, name)


def histogram(values: Mapping[str, Sequence[float]], x: str, *, name: str, bins: int = 20) -> str:
    """How many pictures have which value -> an SVG element; several sets stand on each other.

    Args:
        values: label -> values, in [0, 1] or a little above.
        x: what the values are.
        name: of this chart, unlike that of any other in one page.
        bins: bars over the range that the values fill.

    Raises:
        MissingExtra: if matplotlib is not installed.
    """
    every = [value for some in values.values() for value in some]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 0.05, bins + 1)

    def draw(axes: Any) -> None:
        below = np.zeros(bins)
        for i, some in enumerate(values.values()):
            above = below + np.histogram(some, edges)[0]
            axes.bar(
                edges[:-1], above - below, np.diff(edges) * 0.88, below, align="edge", color=colour(i), linewidth=0
            )
            below = above
        axes.set(xlabel=x, ylabel="pictures", ylim=(0, None))
        axes.yaxis.get_major_locator().set_params(integer=True)

    return _chart(draw, name)


def colour(number: int) -> str:
    """The stand-in for the colour of the line with this number, from 0."""
    return list(_STAND_INS)[number % SERIES]


def _chart(draw: Any, name: str) -> str:
    matplotlib = require("matplotlib", "evaluate")
    backend = require("matplotlib.backends.backend_svg", "evaluate")
    figures = require("matplotlib.figure", "evaluate")
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = figures.Figure(figsize=SIZE, layout="constrained")
        backend.FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(linewidth=0.6, alpha=0.5)
        axes.set_axisbelow(True)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(stream.getvalue(), name)


def _for_page(svg: str, name: str) -> str:
    """Only the element, its colours and fonts the page's, its identifiers its own."""
    svg = svg[svg.index("<svg") :]
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(
        r'<svg[^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{name}">', svg, count=1
    )
