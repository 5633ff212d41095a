"""Command by which people review a dataset: ``python -m align3d.review dataset=DIR``."""

from __future__ import annotations

import getpass
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.table import Table

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.reviewing.agreement import Kappa, agreements
from align3d.reviewing.review_log import open_log, reviewers, reviews_folder
from align3d.reviewing.review_sample import review_sample
from align3d.reviewing.review_server import ReviewServer
from align3d.reviewing.review_session import ReviewSession

EXAMPLE = "dataset=data/kicad sample=0.05 reviewer=ada"


@dataclass(frozen=True)
class ReviewOptions:
    """Settings of the command.

    Attributes:
        dataset: Folder of the dataset. Decisions are kept beside it, in ``DATASET.reviews``.
        sample: Share of the shapes that is reviewed, the same ones for every reviewer.
        reviewer: Name of the reviewer; null is the name of the user. Each has a file of their own.
        port: Port on this machine that the page is served from; 0 takes one that is free.
        seed: Another seed gives another sample.
        again: Begin with the first shape again, instead of with the first undecided one.
        agreement: Do not review: print how far the reviewers agree, and what they differ about.
    """

    dataset: Path
    sample: Annotated[float, Field(gt=0, le=1)] = 0.1
    reviewer: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    again: bool = False
    agreement: bool = False


def main(arguments: Sequence[str]) -> int:
    """Serve the page until it is interrupted, or print the agreement.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Do what the arguments say."""
    values = values_of(ReviewOptions, arguments, EXAMPLE.split()[0])
    if "dataset" not in values:
        raise UserError("dataset=DIR is missing: the folder that a build wrote")
    options = ReviewOptions(**values)
    dataset = ShapeDataset.load(options.dataset)
    if options.agreement:
        report(dataset)
    else:
        serve(dataset, options)


def serve(dataset: ShapeDataset, options: ReviewOptions) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: The reviewer's name or file, or the port, cannot be had.
    """
    folder = reviews_folder(dataset.path)
    with open_log(folder, options.reviewer or _user()) as log:
        rows = review_sample(dataset, options.sample, options.seed)
        session = ReviewSession(dataset, log, rows, again=options.again)
        with ReviewServer(session, options.port) as server:
            decided = session.overview()["decided"]
            say(
                f"{len(rows):,} of {len(dataset):,} shapes of {dataset.path}, {decided:,} decided; "
                f"open {server.url} in a browser of this machine"
            )
            say(f"Ctrl-C ends; decisions are in {log.path}, and the next build applies them")
            sys.stdout.flush()
            with suppress(KeyboardInterrupt):
                server.serve_forever()
            with session.lock:  # what is being written is finished
                say(f"{session.log.path}: {len(log.decisions):,} decisions")


def report(dataset: ShapeDataset) -> None:
    """Print how far the reviewers agree.

    Raises:
        UserError: Fewer than two people have reviewed the dataset.
    """
    reviews = {name: made for name, made in reviewers(dataset.path).items() if made}
    if len(reviews) < 2:
        names = f" ({', '.join(reviews)})" if reviews else ""
        raise UserError(
            f"{reviews_folder(dataset.path)}: decisions of {len(reviews)} reviewers{names}, expected two or "
            "more; review with another reviewer="
        )
    found = agreements(reviews, dataset)
    table = Table(title=f"agreement about {dataset.name}", title_justify="left")
    for head in ("reviewers", "about", "both judged", "agreed", "Cohen's κ", "95 % interval"):
        table.add_column(head, justify="left" if head in ("reviewers", "about") else "right")
    for pair in found:
        table.add_row(f"{pair.first}, {pair.second}", "shapes", *_cells(pair.shapes))
        table.add_row("", "captions kept", *_cells(pair.captions))
    Terminal().print(table)
    for pair in found:
        for one in pair.differences:
            about = f"{one.item}: {one.caption!r}" if one.caption else one.item
            say(f"{about}\n  {pair.first}: {one.first}\n  {pair.second}: {one.second}")


def usage() -> str:
    """Help page."""
    return page(
        "Shows shapes and captions of a dataset on a local page, for people to accept, reject and mend.",
        ["python -m align3d.review dataset=DIR [key=value ...]"],
        f"python -m align3d.review {EXAMPLE}",
        [Section("settings", settings_of(ReviewOptions))],
    )


def _cells(kappa: Kappa) -> list[str]:
    agreed = f"{kappa.agreed:,} ({kappa.agreed / kappa.count:.0%})" if kappa.count else "-"
    if math.isnan(kappa.value):
        why = "undefined: one verdict only" if kappa.count else "-"
        return [f"{kappa.count:,}", agreed, why, ""]
    return [f"{kappa.count:,}", agreed, f"{kappa.value:.2f}", f"{kappa.low:.2f} to {kappa.high:.2f}"]


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = ""
    return "".join(one for one in name if one.isalnum() or one in "._-").lstrip("._-") or "reviewer"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
