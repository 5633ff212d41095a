"""HTML page that needs no other file: its frame, its tables and lists."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from align3d.console.terminal import visible
from experiments.reporting.formatting import Grid

STYLE = Path(__file__).with_name("page.css")


def document(title: str, body: Iterable[str]) -> str:
    """A whole page of parts that are HTML already; empty ones are left out."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n"
        f"<style>\n{STYLE.read_text()}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(part for part in body if part) + "\n</main>\n</body>\n</html>\n"
    )


def side(grid: Grid, place: int) -> Literal["left", "right"]:
    """Align words to the left, figures to the right."""
    return "left" if grid.columns[place] in grid.words else "right"


def table(grid: Grid) -> str:
    """A table with its note below."""
    sides = [side(grid, place) for place in range(len(grid.columns))]

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="{own}">{escaped(cell)}</{tag}>' for own, cell in zip(sides, row, strict=True)
        )

    rows = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in grid.rows)
    return (
        f'<div class="table"><table>\n<caption>{escaped(grid.title)}</caption>\n'
        f"<thead><tr>{cells('th', grid.columns)}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
        + (f'<p class="below">{escaped(grid.note)}</p>' if grid.note else "")
    )


def items(texts: Sequence[str], style: str) -> str:
    """A list; nothing of no texts."""
    if not texts:
        return ""
    return f'<ul class="{style}">' + "".join(f"<li>{escaped(text)}</li>" for text in texts) + "</ul>"


def escaped(text: str) -> str:
    """Text of a page; what is not seen is written out."""
    return html.escape(visible(text))
