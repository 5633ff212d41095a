"""Settings of ``python -m experiments.search``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named

Positive = Annotated[int, Field(ge=1)]
_SETTING = re.compile(r"-{0,2}[A-Za-z_][\w.-]*=")


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` or ``embeddings`` is to be given, and something to search for.

    Attributes:
        query: Words to search for; they may also stand alone, in quotes.
        run: Folder of a finished run, whose shapes are searched by its model.
        dataset: Folder of a dataset that align3d.build wrote, searched by the run's model instead.
        shape: File of a shape to search by, a mesh or a cloud: captions that fit it, and shapes like it.
        unit_m: Unit of that file in meters; null: as its format has it.
        up: Axis that points up in that file; null: as its format has it.
        embeddings: File of another model's vectors (.npz, .safetensors, .npy), searched instead of a run.
        encoder: Model of sentence-transformers that encodes words into the space of these vectors.
        vectors: File of vectors to search by, in the same formats, one query each.
        k: Answers.
        where: Filter, such as category=Connector_PinHeader*; columns are category, caption and id.
        calibration: Calibration of HAF: the run's own (auto), its agent's, one for all queries, or none.
        candidates: Shapes that HAF re-ranks; null: as many as in the run's evaluation.
        interactive: Ask for queries one after the other; "more like 3" and "not 2" change the last one.
        json: Print the answers as JSON, and nothing else.
        pictures: Pictures in the terminal: by what it can (auto), by one protocol, or none (off).
        sheet: File of the sheet of pictures; null: answers.png in the run's folder search.
        device: Device where a library is made.
        verify: Compare all files of a library with their checksums first; null: of one of up to 200 MB.
        imports: Modules to import first: they register sources and agents of your own.
        named: What the run names and the command line names again, by dotted names.
    """

    query: str | None = None
    run: Path | None = None
    dataset: Path | None = None
    shape: Path | None = None
    unit_m: Annotated[float, Field(gt=0)] | None = None
    up: Literal["x", "y", "z"] | None = None
    embeddings: Path | None = None
    encoder: str | None = None
    vectors: Path | None = None
    k: Positive = 10
    where: str | None = None
    calibration: Literal["auto", "agent", "fixed", "none"] = "auto"
    candidates: Positive | None = None
    interactive: bool = False
    json: bool = False
    pictures: Literal["auto", "kitty", "iterm2", "sixel", "text", "off"] = "auto"
    sheet: Path | None = None
    device: str = "cpu"
    verify: bool | None = None
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line; words without a setting are the query.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or settings that do not fit.
    """
    words = [argument for argument in arguments if not _is_setting(argument)]
    given = [argument for argument in arguments if _is_setting(argument)]
    values = values_and_named(Settings, given, "run=outputs/mine", reads_memory=True)
    if words:
        if "query" in values:
            raise UserError(f"{words[0]!r} and query={values['query']!r}: expected one query")
        values["query"] = " ".join(words)
    settings = Settings(**values)
    _check(settings)
    return settings


def _is_setting(argument: str) -> bool:
    """Whether an argument is meant as a setting: words may hold an equals sign, behind a blank."""
    return bool(_SETTING.match(argument)) or argument.startswith("--")


def _check(settings: Settings) -> None:
    if (settings.run is None) == (settings.embeddings is None):
        raise UserError(
            "give one of run=FOLDER (a finished run) and embeddings=FILE (another model's vectors)"
        )
    _check_owner(settings, "run", ("dataset", "shape", "candidates", "verify"))
    _check_owner(settings, "embeddings", ("encoder", "vectors"))
    _check_owner(settings, "shape", ("unit_m", "up"))
    asked = [name for name in ("query", "shape", "vectors") if getattr(settings, name) is not None]
    if len(asked) > 1:
        raise UserError(
            f"{' and '.join(f'{name}={getattr(settings, name)}' for name in asked)}: expected one query"
        )
    if not asked and not settings.interactive:
        raise UserError(
            'give words to search for, as in "four-legged oak chair"; or shape=FILE, or interactive=true'
        )
    if settings.interactive and settings.json:
        raise UserError("json=true: belongs to single searches; leave out interactive=true")
    if settings.interactive and settings.vectors is not None:
        raise UserError(f"vectors={settings.vectors}: belongs to single searches; leave out interactive=true")
    needs_words = settings.query is not None or settings.interactive
    if settings.embeddings is not None and needs_words and settings.encoder is None:
        raise UserError(
            f"embeddings={settings.embeddings}: words need encoder=MODEL (of sentence-transformers); "
            "or give vectors=FILE"
        )


def _check_owner(settings: Settings, owner: str, names: Sequence[str]) -> None:
    """Refuses settings that say nothing without another one."""
    if getattr(settings, owner) is None:
        for name in names:
            if (value := getattr(settings, name)) is not None:
                raise UserError(f"{name}={value}: belongs to {owner}=…")


def usage() -> str:
    """Help page of the command."""
    return page(
        "Searches a library of shapes by words or by a shape.",
        [
            'python -m experiments.search "WORDS" run=FOLDER [key=value ...]',
            "python -m experiments.search shape=FILE run=FOLDER [key=value ...]",
            'python -m experiments.search "WORDS" embeddings=FILE encoder=MODEL [key=value ...]',
        ],
        'python -m experiments.search "through-hole pin header, 2 rows, right angle" run=outputs/mine k=5',
        [
            Section("settings", settings_of(Settings, but=[NAMED])),
            named_section(reads_memory=True),
        ],
    )
