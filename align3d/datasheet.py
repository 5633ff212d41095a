"""Datasheet of a dataset, which a build writes; for one that is there, ``python -m align3d.datasheet``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision, read_decisions
from align3d.describing.contact_sheet import chosen_shapes, contact_sheet
from align3d.describing.dataset_facts import count_facts
from align3d.describing.datasheet_text import command_of, datasheet_text
from align3d.errors import UserError
from align3d.store import DATASHEET, lock_of
from durable.file_lock import locked
from durable.whole_files import write_bytes

PICTURE = "shapes.png"
DECISIONS = "decisions.jsonl"
"""File in the folder of a dataset's shards with the decisions that its build applied."""
EXAMPLE = "dataset=data/kicad"


@dataclass(frozen=True)
class DatasheetOptions:
    """Settings of the command.

    Attributes:
        dataset: Folder of the dataset; its README.md is written anew.
    """

    dataset: Path


def datasheet(
    dataset: ShapeDataset, *, command: str = "", decisions: Sequence[Decision] | None = None
) -> dict[str, bytes]:
    """The files that describe a dataset, by their paths in its folder: ``README.md`` and its picture.

    The text is the same on every machine with the same versions of the packages that it names, whatever the
    workers. The picture is the same with the same Pillow alone: do not put it into a manifest.

    Args:
        dataset: A finished dataset; its folder's name is not used.
        command: Command line that builds it, without ``out`` and ``workers`` if it is to be the same for all;
            see ``align3d.describing.datasheet_text.command_line``.
        decisions: Those of filters and reviewers that the build applied; None: those in ``decisions.jsonl``
            beside the shards, if there are any.
    """
    if decisions is None:
        applied = dataset.path / dataset.manifest.data / DECISIONS
        decisions = read_decisions(applied) if applied.is_file() else []
    shown = chosen_shapes(dataset)
    picture = f"{dataset.manifest.data}/{PICTURE}"
    text = datasheet_text(dataset, count_facts(dataset), picture, shown, command, decisions)
    return {picture: contact_sheet(dataset, shown), DATASHEET: text.encode()}


def write_datasheet(
    dataset: ShapeDataset, *, command: str = "", decisions: Sequence[Decision] | None = None
) -> None:
    """Write these files into the dataset's folder, each whole or not at all, the text last.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    for name, content in datasheet(dataset, command=command, decisions=decisions).items():
        write_bytes(dataset.path / name, content)


def main(arguments: Sequence[str]) -> int:
    """Write the datasheet of the dataset that is asked for.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Write the datasheet, with the command of the earlier one if it gives it."""
    values = values_of(DatasheetOptions, arguments, EXAMPLE)
    if "dataset" not in values:
        raise UserError("dataset=DIR is missing: the folder that a build wrote")
    folder = DatasheetOptions(**values).dataset.resolve()
    ShapeDataset.load(folder)  # before a lock is made beside something that is no dataset
    with locked(lock_of(folder)):
        dataset, place = ShapeDataset.load_held(folder), folder / DATASHEET
        earlier = place.read_text(encoding="utf-8", errors="replace") if place.is_file() else ""
        write_datasheet(dataset, command=command_of(earlier))
    say(f"{place} written")


def usage() -> str:
    """Help page."""
    return page(
        "Writes a dataset's README.md: what is in it, where it comes from, what was left out.",
        ["python -m align3d.datasheet dataset=DIR"],
        f"python -m align3d.datasheet {EXAMPLE}",
        [Section("settings", settings_of(DatasheetOptions))],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
