"""Settings of ``python -m experiments.memory``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from experiments.index_evaluation.options import Count, Positive, Strength
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named
from experiments.settings.reading import import_modules

Control = Literal["size", "captions", "wrong", "source", "popularity", "transductive", "cost"]
CONTROLS: tuple[Control, ...] = (
    "size",
    "captions",
    "wrong",
    "source",
    "popularity",
    "transductive",
    "cost",
)
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` is to be given.

    Attributes:
        run: Folders of finished runs that differ in their seed alone.
        controls: Controls that are measured.
        imports: Modules to import first: they register sources of your own.
        named: What the run names and the command line names again, by dotted names.
        sizes: Pairs of smaller banks, beside the bank of all pairs.
        forced: Strength of recall and of hubness where small banks do not rest.
        wrong: Shares of the bank's pairs that are given a wrong shape.
        other: Source of the other gallery and bank (package.module:Class for one of your own), or the folder
            of a run on its data, with a slash; null: procedural, for a run on other data.
        exponent: Exponent of Zipf's law.
        orders: Random orders of popularity.
        queries: Queries that are timed.
        resamples: Resamples of the bootstrap.
        seed: Seed of subsets, wrong pairs, orders and resamples; that of the run is added to it.
        device: Device of the model.
        out: Folder of memory.json; null: RUN/memory of the first run.
    """

    run: tuple[Path, ...]
    controls: tuple[Control, ...] = CONTROLS
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)
    sizes: tuple[Positive, ...] = (100, 300, 1_000, 3_000)
    forced: Strength = 1.0
    wrong: tuple[Share, ...] = (0.1, 0.3, 1.0)
    other: str | None = None
    exponent: Strength = 1.0
    orders: Positive = 1_000
    queries: Positive = 200
    resamples: Positive = 2_000
    seed: Count = 0
    device: str = "auto"
    out: Path | None = None


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or no run.
    """
    values = values_and_named(Settings, arguments, "run=outputs/mine")
    if "run" not in values:
        raise UserError("give run=FOLDER, a finished run, or several with commas: run=FOLDER,FOLDER")
    if len(set(values["run"])) < len(values["run"]):
        raise UserError(
            f"run={','.join(map(str, values['run']))}: a run is named twice; expected other seeds"
        )
    import_modules(values.get("imports", ()))
    return Settings(**values)


def usage() -> str:
    """Help page of the command."""
    return page(
        "Measures what a memory of known pairs adds to retrieval, and under which conditions it does not.",
        ["python -m experiments.memory run=FOLDER[,FOLDER...] [key=value ...]"],
        "python -m experiments.memory run=outputs/mine controls=size,wrong",
        [Section("settings", settings_of(Settings, but=[NAMED])), named_section()],
    )
