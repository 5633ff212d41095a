"""Help of a command: usage, an example, every setting with its default, its comment and its type."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from align3d.console.declarations import REQUIRED, Setting, declared, shown, type_words
from align3d.console.terminal import visible

LEAST, MOST = 60, 120
"""Characters per line, at least and at most."""
LEFT = 34
"""Characters of the column that names the settings."""
NO_BREAK = "\u00a0"
"""A space at which no line is broken."""


@dataclass(frozen=True)
class Line:
    """An entry of a help page.

    Attributes:
        left: What is typed, such as ``train.epochs=12``.
        text: What it means.
        kind: The values that it takes, in words.
    """

    left: str
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Section:
    """Entries under a title."""

    title: str
    lines: Sequence[Line]


def setting_line(setting: Setting, prefix: str = "", value: Any = ...) -> Line:
    """The entry of a setting.

    Args:
        setting: The setting.
        prefix: Stands before its name, such as ``train.``.
        value: Stands behind it; its default where it is left out.
    """
    value = setting.default if value is ... else value
    left = f"{prefix}{setting.name}={'VALUE' if value is REQUIRED else shown(value)}"
    return Line(left, setting.comment, type_words(setting.kind))


def settings_of(owner: Callable[..., Any], prefix: str = "", but: Iterable[str] = ()) -> list[Line]:
    """The entries of a dataclass's, a class's or a function's settings."""
    return [setting_line(setting, prefix) for name, setting in declared(owner).items() if name not in but]


def page(
    summary: str, usage: Sequence[str], example: str, sections: Sequence[Section], width: int = 0
) -> str:
    """A help page as text.

    Args:
        summary: What the command does, in a sentence.
        usage: Its forms.
        example: One command line that works.
        sections: What can be set.
        width: Characters per line; those of the terminal where it is 0.
    """
    width = width or min(MOST, max(LEAST, shutil.get_terminal_size((100, 24)).columns))
    lines = [*textwrap.wrap(summary, width), ""]
    lines += [f"{'usage:' if not place else '':<9}{form}" for place, form in enumerate(usage)]
    lines += [f"{'example:':<9}{example}"]
    for section in sections:
        lines += ["", *textwrap.wrap(section.title, width)]
        lines += [text for line in section.lines for text in _entry(line, width)]
    return "\n".join(lines)


def show(text: str, *, raw: bool = False) -> None:
    """Print a text that a pager or ``head`` may stop reading.

    Args:
        text: The text; it is made `visible`.
        raw: Whether it goes to the terminal as it is, as a picture of our own making must.
    """
    try:
        print(text if raw else visible(text), flush=True)
    except BrokenPipeError:  # enough was seen; the interpreter must not flush once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _entry(line: Line, width: int) -> list[str]:
    """The lines of an entry, as wide as the page; its kind is not broken."""
    left, indent = f"  {line.left}", " " * (LEFT + 2)
    kind = f" [{line.kind}]".replace(" ", NO_BREAK) if line.kind else ""
    text = f"{line.text} {kind.strip(NO_BREAK)}".strip()
    lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False, break_long_words=False)
    lines = [f"{indent}{found}".replace(NO_BREAK, " ") for found in lines]
    if not lines or len(left) >= len(indent):
        return [left, *lines]
    return [f"{left:<{len(indent)}}{lines[0].strip()}", *lines[1:]]
