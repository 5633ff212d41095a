"""Foreign text in Markdown: names and captions that stay text, whatever they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from align3d.console.terminal import on_one_line

LONGEST = 160
"""Characters of a foreign text, at most; what is cut off shows as an ellipsis."""

# A numeric character reference is text and never structure (CommonMark 0.31, 6.2), in tables as well, where a
# backslash before a pipe is read differently by different programs.
_MARKS = re.compile(r"[\\`*_{}\[\]<>&|~$#!@:^=]|(?<=www)\.|(?<=ftp)\.|^[-+]|(?<=^\d)[.)]", re.IGNORECASE)


def literal(text: str, longest: int = LONGEST) -> str:
    """A text that Markdown shows as it is: no markup, no HTML, no link, no control characters, on one line.

    >>> literal("a <b>red</b> | chair")
    'a &#60;b&#62;red&#60;/b&#62; &#124; chair'
    """
    line = " ".join(on_one_line(text).split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", line)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """A table; numbers stand to the right, with commas.

    Args:
        head: Names of the columns.
        rows: Cells as Markdown, or whole numbers.
    """
    listed = [list(row) for row in rows]
    are_numbers = [
        bool(listed) and all(isinstance(row[at], int) for row in listed) for at in range(len(head))
    ]
    lines = [head, ["---:" if number else "---" for number in are_numbers]]
    lines += [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in listed]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
