"""Figure as an SVG element of a page: its style, and its text and axes in the page's colors."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from align3d.console.terminal import on_one_line, visible
from experiments.reporting.plot_style import COLORS, DASHES

#: Placeholder of the page's own text color until the SVG is written.
INK = "#010203"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names with dollars as well
    "svg.hashsalt": "align3d",  # equal figures, equal bytes
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
WIDTH = 8.6
MOST_CHARACTERS = 34


def line_style(place: int) -> tuple[str, str]:
    """Color and dashes of the line at a place of a list."""
    return COLORS[place % len(COLORS)], DASHES[place // len(COLORS) % len(DASHES)]


def short(name: str) -> str:
    """A name on one line, cut where it is long."""
    name = on_one_line(name)
    return name if len(name) <= MOST_CHARACTERS else name[: MOST_CHARACTERS - 1] + "…"


def svg(figure: Figure, label: str) -> str:
    """Render a figure as an element of a page, in the page's text color and without a background."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(visible(label))}" ', 1)
    return text.replace(INK, "currentColor")
