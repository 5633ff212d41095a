"""Foreign text in Markdown: names and reasons that stay text, whatever they hold."""

from __future__ import annotations

import re

from align3d.console.terminal import on_one_line

# Characters by which a text could become code, emphasis, a cell, a link or a tag; underscores within a word
# mean nothing, a bracket before a figure is that of an interval.
_MARKS = re.compile(
    r"[\\`*|~<]|\[(?![+−-]?\d)|(?<=\])\(|(?<!\w)_|_(?!\w)|&(?=#|\w+;)|^(?:[#+-](?=#*\s|$)|>|\d+(?=[.)]\s))"
)
_TICKS = re.compile("`+")


def escaped(text: str) -> str:
    r"""A text on one line in which Markdown and HTML mark nothing.

    >>> escaped("<script> [a](b) model.haf_layers=2")
    '&lt;script> \\[a]\\(b) model.haf_layers=2'
    """
    return _MARKS.sub(_written, on_one_line(text))


def code(text: str) -> str:
    """A text on one line as code, with as many backticks around it as it takes.

    >>> code("a")
    '`a`'
    """
    text = on_one_line(text)
    fence = "`" * (1 + max(map(len, _TICKS.findall(text)), default=0))
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _written(match: re.Match[str]) -> str:
    mark = match[0]
    if mark[0].isdigit():
        return f"{mark}\\"  # the point behind it would begin a list
    return {"<": "&lt;", "&": "&amp;"}.get(mark, f"\\{mark}")
