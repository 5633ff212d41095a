"""Command that builds a dataset: ``python -m align3d.build source=NAME out=DIR``."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from rich.table import Table

from align3d.console.arguments import values_by
from align3d.console.command_frame import run_command
from align3d.console.declarations import Setting, declared, summary
from align3d.console.help_page import Section, page, setting_line, settings_of
from align3d.console.rich_terminal import Terminal
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.pipeline import build
from align3d.sources import SOURCES, make_source, source_class

EXAMPLE = "source=kicad size=500 out=data/kicad"
OWN: dict[str, Setting] = {
    name: dataclasses.replace(one, kind=str) if name in ("source", "out") else one
    for name, one in declared(build).items()
}
"""Settings that do not depend on the source."""
_LOOSE = Annotated[int | float | bool | str, Field(union_mode="left_to_right")]
"""Kind of a setting of a source that does not say its type."""


def main(arguments: Sequence[str]) -> int:
    """Build the dataset that the arguments ask for.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    again = "interrupted; run the same command to go on from here"
    return run_command(arguments, usage, run, bare=True, interrupted=again)


def run(arguments: Sequence[str]) -> None:
    """Build the dataset, and report it."""
    started = time.monotonic()
    settings = parse(arguments)
    own = {key: settings.pop(key) for key in OWN if key in settings}
    out = str(own.pop("out"))
    name = str(own.pop("source"))
    if "seed" in declared(source_class(name)) and "seed" in own:
        settings["seed"] = own["seed"]  # one seed for what a source draws and for the sampling
    source = make_source(name, **settings)
    dataset = build(source, out, **{key: value for key, value in own.items() if value is not None})
    report(dataset, time.monotonic() - started)


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings of a command line, checked against those of the build and of the source.

    Raises:
        UserError: A word that is no ``key=value``, a missing, repeated or unknown key, or a wrong value.
    """
    pairs = [argument.partition("=")[::2] for argument in arguments]
    given = dict(pairs)
    for key in given:
        if [name for name, _ in pairs].count(key) > 1:
            raise UserError(f"{key} is given twice")
    if not given.get("source"):
        raise UserError(f"source=NAME is missing (known: {', '.join(sorted(SOURCES))})")
    own = declared(source_class(given["source"]))
    hints = {name: _LOOSE if one.kind is Any else one.kind for name, one in {**own, **OWN}.items()}
    settings = values_by(hints, arguments, EXAMPLE.split()[-1])
    if not settings.get("out"):
        raise UserError("out=DIR is missing: the folder to write the dataset to")
    return settings


def usage() -> str:
    """Help page, with every source's settings."""
    sections = [Section("settings", [setting_line(one) for one in OWN.values()])]
    for name, cls in sorted(SOURCES.items()):
        title = f"source={name}: {summary(cls)}"
        sections.append(Section(title, settings_of(cls, but=OWN)))
    return page(
        "Builds a dataset of shapes and captions. What was cut off goes on with the same command.",
        ["python -m align3d.build source=NAME out=DIR [key=value ...]"],
        f"python -m align3d.build {EXAMPLE}",
        [*sections, Section("source=package.module:Class: a source of your own", [])],
    )


def report(dataset: ShapeDataset, seconds: float) -> None:
    """Print what was built, and what was left out, by reason."""
    table = Table(show_header=False, title=f"align3d {dataset.name}", title_justify="left")
    table.add_row("shapes", f"{len(dataset):,} of {dataset.num_points:,} points")
    table.add_row("captions", f"{sum(map(len, dataset.captions)):,}")
    table.add_row("categories", f"{len(set(dataset.categories)):,}")
    rejections = dataset.rejections
    kinds = Counter(rejection.reason.partition(":")[0] for rejection in rejections)
    reasons = "".join(f"\n{count:,} {reason}" for reason, count in kinds.most_common(5))
    more = f"\n... {len(kinds) - 5} more reasons in {dataset.rejections_file}" if len(kinds) > 5 else ""
    table.add_row("rejected", f"{len(rejections):,}{reasons}{more}")
    if losses := dataset.lost_colors:
        shown = "".join(f"\n{loss.item}: {loss.reason}" for loss in losses[:5])
        more = f"\n... {len(losses) - 5} more in {dataset.lost_colors_file}" if len(losses) > 5 else ""
        table.add_row("colors lost", f"{dataset.manifest.lost_colors:,}{shown}{more}")
    if notes := dataset.notes:
        shown = "".join(f"\n{note.item}: {note.reason}" for note in notes[:5])
        more = f"\n... {len(notes) - 5} more in {dataset.notes_file}" if len(notes) > 5 else ""
        table.add_row("notes", f"{len(notes):,}{shown}{more}")
    table.add_row("seconds", f"{seconds:.1f}")
    table.add_row("hash", dataset.hash[:16])
    table.add_row("path", str(dataset.path))
    Terminal().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
