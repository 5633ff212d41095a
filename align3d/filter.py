"""Command that shows what filters would leave out of a dataset: ``python -m align3d.filter dataset=DIR``."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import on_one_line, say
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision, read_decisions, write_decisions
from align3d.errors import DataError
from align3d.filters import Remaining, decisions_of
from align3d.filters.filter_settings import filters_of, help_sections
from align3d.filters.text_quality import precision_and_recall, read_labels, train

EXAMPLE = "dataset=data/kicad filters=duplicate_shapes,length filters.length.min_words=2"
DEFAULT = ("duplicate_shapes", "duplicate_captions", "language", "length", "quality")
"""Filters where none are named."""


@dataclass(frozen=True)
class Asked:
    """Settings of the command, those of the filters aside.

    Attributes:
        dataset: Folder of a built dataset; it is not changed.
        out: File for the decisions, a line of JSON each; null: DATASET.filters.jsonl, beside the folder.
        before: Files of decisions that were made already, such as a reviewer's; filters see what they left.
        examples: Examples that are shown of each reason.
        train: Table of labeled captions (caption, label, and perhaps split: train or test) to learn their
            quality from; nothing is filtered then.
        model: File for what was learned.
    """

    dataset: Path | None = None
    out: Path | None = None
    before: tuple[Path, ...] = ()
    examples: int = 3
    train: Path | None = None
    model: Path | None = None


def main(arguments: Sequence[str]) -> int:
    """Show, and write down, what filters decide; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Filter, or learn."""
    filters, others = filters_of(arguments, DEFAULT)
    asked = Asked(**values_of(Asked, others, EXAMPLE.split()[0]))
    if asked.train is not None:
        if asked.model is None:
            raise DataError("model=FILE is missing: the file for what is learned")
        _learn(asked.train, asked.model)
        return
    if asked.dataset is None:
        raise DataError("dataset=DIR is missing: the folder of a built dataset")
    dataset = ShapeDataset.load(asked.dataset)
    before = [decision for file in asked.before for decision in read_decisions(file)]
    made = decisions_of(dataset, filters, before=before)
    folder = asked.dataset.resolve()
    out = asked.out or folder.with_name(f"{folder.name}.filters.jsonl")
    write_decisions(out, made)
    report(dataset, before, made, asked.examples)
    say(f"decisions: {out} (undo one: take out its line)")


def report(
    dataset: ShapeDataset, before: Sequence[Decision], made: Sequence[Decision], examples: int
) -> None:
    """Print the decisions by filter and reason, and what they leave."""
    table = Table(title=f"align3d {dataset.name}", title_justify="left")
    for column in ("filter", "reason", "count", "examples"):
        table.add_column(column, justify="right" if column == "count" else "left")
    ordered = sorted(made, key=_heading)
    groups = [(heading, list(group)) for heading, group in itertools.groupby(ordered, key=_heading)]
    for (by, kind, action), group in sorted(groups, key=lambda one: (one[0][0], -len(one[1]))):
        shown = [on_one_line(_example(one)) for one in group[:examples]]
        what = "shapes" if action == "reject" else "captions"
        table.add_row(by, kind, f"{len(group):,} {what}", "\n".join(shown))
    Terminal().print(table)
    left = Remaining.after(dataset, [*before, *made])
    captions, all_captions = (sum(map(len, texts)) for texts in (left.captions, dataset.captions))
    say(
        f"left: {len(left.rows):,} of {len(dataset):,} shapes, {captions:,} of {all_captions:,} captions "
        f"(a shape without captions goes too)"
    )


def usage() -> str:
    """Help page, with every filter's settings."""
    return page(
        "Shows what filters leave out of a dataset, with reasons and examples, and writes it down. "
        "Nothing is rebuilt.",
        [
            "python -m align3d.filter dataset=DIR [filters=NAME,NAME] [filters.NAME.SETTING=VALUE ...]",
            "python -m align3d.filter train=LABELS.csv model=FILE",
        ],
        f"python -m align3d.filter {EXAMPLE}",
        [
            Section("settings", settings_of(Asked)),
            *help_sections(),
            Section("filters=package.module:Class: a filter of your own", []),
        ],
    )


def _heading(decision: Decision) -> tuple[str, str, str]:
    kind, _, rest = decision.reason.partition(":")
    # What follows the colon tells one decision from another, but for rules, which are few.
    detail = "" if any(map(str.isdigit, rest)) or decision.action == "reject" else f":{rest}"
    return decision.by, kind + detail, decision.action


def _example(decision: Decision) -> str:
    if decision.action == "reject":
        return f"{decision.item}:{decision.reason.partition(':')[2]}"
    return f"{decision.item}: {decision.caption[:100]!r}"


def _learn(labels: Path, model: Path) -> None:
    """Learn from the rows of the train split, write it, and say what the rows of the test split say of it."""
    classifier = train(*read_labels(labels, "train"))
    classifier.write(model)
    say(f"learned from {classifier.examples} captions: {shlex.quote(f'filters.quality.model={model}')}")
    texts, good = read_labels(labels, "test")
    if "split" in labels.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]:
        precision, recall = precision_and_recall((classifier.good(texts) < 0.5).tolist(), good)
        say(
            f"on {len(texts)} captions of the test split: precision {precision:.3f} and recall {recall:.3f} "
            f"of bad captions at threshold 0.5"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
