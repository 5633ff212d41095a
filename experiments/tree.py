"""Command that prints the tree of an index: ``python -m experiments.tree run=FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from align3d.console import help_page
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, show
from align3d.errors import UserError, settings_of
from align3d.table_file import Columns, read_rows
from experiments.console import process
from experiments.index_evaluation.options import Positive
from experiments.index_evaluation.run_index import CAPTION, stored_outline
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named
from experiments.settings.reading import import_modules
from retrieval import describe, name_nodes
from retrieval.ers.inspect import IndexSummary, read_outline


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` or ``index`` is to be given.

    Attributes:
        run: Folder of a finished run; its index is built if it has none yet.
        index: Folder of any saved index.
        captions: File of captions for an index: CSV, JSONL or Parquet, with id and caption.
        depth: Levels of the tree.
        words: Words that name a node.
        most: Children of a node that have a line of their own.
        device: Device of the model, where the run's index is to be built.
        imports: Modules to import first: they register sources of your own.
        named: What the run names and the command line names again, by dotted names.
    """

    run: Path | None = None
    index: Path | None = None
    captions: Path | None = None
    depth: Positive = 2
    words: Positive = 3
    most: Positive = 8
    device: str = "auto"
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)


def usage() -> str:
    """Help page of the command."""
    return page(
        "Prints the tree of an index, its nodes named by the captions below them.",
        [f"python -m experiments.tree {form}=FOLDER [key=value ...]" for form in ("run", "index")],
        "python -m experiments.tree run=outputs/mine depth=3",
        [Section("settings", help_page.settings_of(Settings, but=[NAMED])), named_section()],
    )


def main(arguments: Sequence[str]) -> int:
    """Prints the tree; the exit code."""
    return run_command(arguments, usage, lambda words: show(tree(parse(words))))


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or settings that do not fit.
    """
    settings = Settings(**values_and_named(Settings, arguments, "run=outputs/mine"))
    if (settings.run is None) == (settings.index is None):
        raise UserError("give one of run=FOLDER (a finished run) and index=FOLDER (a saved index)")
    if settings.captions is not None and settings.run is not None:
        raise UserError(f"captions={settings.captions}: belongs to index=…; a run has its own captions")
    import_modules(settings.imports)
    return settings


def tree(settings: Settings) -> str:
    """The text to be printed.

    Raises:
        UserError: There is no such run or index, or the captions do not fit it.
    """
    if settings.index is None:
        assert settings.run is not None
        outline = stored_outline(settings.run, process.pick_device(settings.device), settings.named)
    else:
        with settings_of(f"index={settings.index}"):
            outline = read_outline(settings.index)
    leaves, captions = _captions(outline, settings.captions)
    if not captions:
        print("no captions, so nodes are numbered: captions=FILE names them", file=sys.stderr)
    names = name_nodes(outline.tree, leaves, captions, words=settings.words)
    return describe(
        outline.tree,
        names,
        settings.depth,
        sizes=np.bincount(outline.leaves, minlength=outline.tree.leaf_count),
        visits=outline.visits,
        successes=outline.successes,
        most=settings.most,
    )


def _captions(outline: IndexSummary, path: Path | None) -> tuple[np.ndarray, list[str]]:
    """Captions ``[C]`` and the leaf of each: from the file, or as the index keeps them, or none."""
    if path is None:
        kept = outline.texts(CAPTION)
        return (outline.leaves[:0], []) if kept is None else (outline.leaves, kept)
    leaf_of = dict(zip(outline.ids.tolist(), outline.leaves.tolist(), strict=True))
    leaves, captions = [], []
    for number, caption in read_captions(path):
        if number in leaf_of:  # the file may describe more than the index holds
            leaves.append(leaf_of[number])
            captions.append(caption)
    if not captions:
        raise UserError(f"captions={path}: none of its ids is in the index, as {min(leaf_of)} is")
    return np.array(leaves, np.int64), captions


def read_captions(path: Path) -> Iterator[tuple[int, str]]:
    """Ids and captions of a file; an id may have several rows.

    Raises:
        UserError: No such file, another format, what cannot be parsed, or a row without a whole number as id
            and a caption.
    """
    label = f"captions={path}"
    for row in read_rows(path, Columns(("id", "caption"), repeated="caption"), label):
        number, captions = row.text("id").strip(), [text for text in row.cells["caption"] if text.strip()]
        if row.problem or not captions or not number.isdecimal():
            expected = "expected id (a whole number) and caption"
            raise UserError(
                f"{label}, {row.where}: {row.problem or f'{expected}, found {row.cells!r}'[:200]}"
            )
        yield from ((int(number), caption) for caption in captions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
