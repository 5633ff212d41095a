"""Search of a library of shapes: ``python -m experiments.search "WORDS" run=FOLDER``, or `Searcher`."""

from __future__ import annotations

from experiments.shape_search import import_pause

# isort: split
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.console.command_frame import run_command
from align3d.console.help_page import show as write
from align3d.errors import UserError
from durable.whole_files import replacing
from experiments.console.writable import writable_file
from experiments.shape_search.answer_sheet import answer_sheet, strip
from experiments.shape_search.answers import Answers
from experiments.shape_search.outside_vectors import read_outside
from experiments.shape_search.search_options import Settings, parse, usage
from experiments.shape_search.search_session import HELP, Session, prompt
from experiments.shape_search.searcher import SEARCH, Searcher
from experiments.shape_search.terminal_pictures import Protocol, encoded, protocol_of
from experiments.shape_search.vector_searcher import VectorSearcher

import_pause.resume()

__all__ = ["Searcher", "VectorSearcher"]

SHEET, HISTORY = "answers.png", "history"
STRIP_PIXELS, STRIP_COLUMNS = 96, 18
"""Of a shape in a text picture: pixels that it is drawn with, columns that it is shown in."""


def main(arguments: Sequence[str]) -> int:
    """Searches and shows what is found; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Checks the settings, and searches."""
    settings = parse(arguments)
    if settings.imports:
        from experiments.settings.reading import import_modules  # slow to load

        import_modules(settings.imports)
    searcher = _searcher(settings)
    show = _shower(settings, searcher)
    if settings.interactive:
        _ask(settings, searcher, show)
        return
    for answers in _answered(settings, searcher):
        show(answers)


def _searcher(settings: Settings) -> Searcher | VectorSearcher:
    if settings.run is None:
        assert settings.embeddings is not None
        return VectorSearcher(settings.embeddings, settings.encoder)
    return Searcher(
        settings.run,
        settings.dataset,
        calibration=settings.calibration,
        candidates=settings.candidates,
        device=settings.device,
        verify=settings.verify,
        named=settings.named,
    )


def _answered(settings: Settings, searcher: Searcher | VectorSearcher) -> list[Answers]:
    k, where = settings.k, settings.where
    if settings.query is not None:
        return [searcher.search(settings.query, k, where)]
    if settings.shape is not None:
        assert isinstance(searcher, Searcher)
        return [searcher.search_shape(settings.shape, k, where, unit_m=settings.unit_m, up=settings.up)]
    assert settings.vectors is not None
    assert isinstance(searcher, VectorSearcher)
    asked = read_outside(settings.vectors, "vectors")
    pairs = zip(asked.ids, asked.vectors, strict=True)
    return [searcher.search(vector, k, where, name=f"{settings.vectors}: {name}") for name, vector in pairs]


def _ask(settings: Settings, searcher: Searcher | VectorSearcher, show: Callable[[Answers], None]) -> None:
    """Asks for queries until there are no more."""
    session = Session(searcher, show, settings.k, settings.where)
    if settings.query is not None:
        session.answer(settings.query)
    history = None if settings.run is None else settings.run / SEARCH / HISTORY
    if sys.stdin.isatty():
        print(HELP)
    with prompt(history) as lines:
        session.run(lines)


def _shower(settings: Settings, searcher: Searcher | VectorSearcher) -> Callable[[Answers], None]:
    """Shows answers and saves their sheet; the last ones' stays."""
    sheet = _sheet_path(settings)
    protocol = _protocol(settings)

    def show(answers: Answers) -> None:
        rows = [answer.row for answer in answers]
        points, colors = searcher.clouds(rows)
        labels = [answer.caption or answer.id for answer in answers]
        picture = answer_sheet(points, colors, labels, answers.query)
        try:
            with replacing(sheet) as beside:
                picture.save(beside, "PNG")
        except OSError as error:
            raise UserError(
                f"sheet={sheet}: cannot be written ({error.strerror}); name another file"
            ) from error
        if settings.json:
            write(json.dumps(answers.as_json(sheet)))
            return
        write(str(answers))
        if protocol == "text":
            write(_text_pictures(points, colors), raw=True)
        elif protocol is not None:
            write(encoded(picture, protocol), raw=True)
        write(f"pictures: {sheet}")

    return show


def _protocol(settings: Settings) -> Protocol | None:
    """Protocol of pictures in the terminal; None where none are shown."""
    if settings.json or settings.pictures == "off":
        return None
    if settings.pictures != "auto":
        return settings.pictures
    return protocol_of() if sys.stdout.isatty() else None


def _text_pictures(points: NDArray[np.float32], colors: NDArray[np.uint8]) -> str:
    """The first answers side by side in half blocks, as many as fit, with their numbers below."""
    some = max(1, min(len(points), shutil.get_terminal_size((90, 24)).columns // STRIP_COLUMNS))
    if not len(points) or not np.isfinite(points[:some]).any():
        return ""
    small = strip(points[:some], colors[:some], STRIP_PIXELS)
    numbers = "".join(f"{number:<{STRIP_COLUMNS}}" for number in range(1, some + 1))
    return encoded(small, "text", some * STRIP_COLUMNS) + numbers.rstrip()


def _sheet_path(settings: Settings) -> Path:
    """File of the sheet, known to be writable: in the run's folder, or below where one stands.

    Raises:
        UserError: It is not.
    """
    if settings.sheet is not None:
        return writable_file(f"sheet={settings.sheet}", settings.sheet)
    if settings.run is not None and os.access(settings.run, os.W_OK):
        return writable_file(f"run={settings.run}", settings.run / SEARCH / SHEET)
    path = Path("outputs") / SEARCH / SHEET
    return writable_file(f"sheet={path}", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
