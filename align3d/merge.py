"""Command that merges the parts of a build: ``python -m align3d.merge parts=DIR out=DIR``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from align3d.build import judge_words, report
from align3d.building.judges import JudgeSettings, judgement_of
from align3d.building.spreading import merge
from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from align3d.filters.filter_settings import filters_of, help_sections

EXAMPLE = "parts=data/parts out=data/kicad"


@dataclass(frozen=True)
class MergeSettings(JudgeSettings):
    """Settings of the merge.

    Attributes:
        parts: Folder with the folders of all parts, which align3d.build wrote with shard=1/64 and so on.
        out: Folder of the dataset.
    """

    parts: Path | None = None
    out: str = ""


def main(arguments: Sequence[str]) -> int:
    """Merge the parts that the arguments name.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Merge the parts, and report the dataset."""
    started = time.monotonic()
    filters, others = filters_of(arguments)
    settings = parse(others)
    if settings.parts is None or not settings.out:
        raise UserError(f"parts=DIR and out=DIR are needed, as in python -m align3d.merge {EXAMPLE}")
    judgement = judgement_of(Path(settings.out), settings, filters)
    dataset = merge(settings.parts.expanduser(), settings.out, judgement, words=judge_words(arguments))
    report(dataset, time.monotonic() - started)


def parse(arguments: Sequence[str]) -> MergeSettings:
    """Settings of a command line.

    Raises:
        UserError: A word that is no ``key=value``, an unknown key, or a wrong value.
    """
    return MergeSettings(**values_of(MergeSettings, arguments, EXAMPLE.split()[0]))


def usage() -> str:
    """Help page."""
    return page(
        "Puts the parts of a build together: the same bytes as a build in one.",
        ["python -m align3d.merge parts=DIR out=DIR [key=value ...]"],
        f"python -m align3d.merge {EXAMPLE}",
        [Section("settings", settings_of(MergeSettings)), *help_sections()],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
