"""Settings of ``python -m experiments.evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from align3d.console.arguments import values_by
from align3d.console.declarations import declared, summary
from align3d.console.help_page import Line, Section, page, settings_of
from align3d.errors import UserError
from align3d.errors import settings_of as named_setting
from align3d.shifts import SHIFTS
from align3d.shifts.shift_registry import LEVELS
from align3d.sources import SOURCES, source_class
from experiments.index_evaluation.options import Count, Positive
from experiments.settings.named_again import DATA, NAMED, Named, named_section, values_and_named
from experiments.settings.reading import import_modules
from experiments.tasks.few_shot import DRAWS, SHOTS
from experiments.tasks.robustness import DGCNN

Task = Literal["zero_shot", "retrieval", "few_shot", "open_set", "robustness", "distractors"]
TASKS: tuple[Task, ...] = ("zero_shot", "retrieval", "few_shot", "open_set", "robustness", "distractors")
OF_RUN = "run."
SOURCE = "data"
_BUILD: dict[str, Any] = {"seed": Count, "workers": Positive | None}
_LOOSE = Annotated[int | float | bool | str, Field(union_mode="left_to_right")]


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` is to be given.

    Attributes:
        run: Folder of a finished run.
        tasks: Tasks that are measured.
        data: Another source, all of whose shapes are measured; null: the run's own test split. Its settings
            are given as data.root=… and so on.
        agent: Whether the run's agent calibrates HAF in retrieval (saved), or HAF is left as it is (none).
        imports: Modules to import first: they register sources and agents of your own.
        named: What the run names and the command line names again, by dotted names.
        prompts: File of the prompt templates, one a line with {} for the class; null: our 64.
        verbatim: Put labels into prompts as they are written, as for Objaverse-LVIS.
        shots: Shapes of each class in the support of few_shot.
        draws: Supports that are drawn.
        unknown: Share of the classes that are unknown in open_set.
        corruptions: Corruptions of robustness.
        levels: Levels of these, from 0 to 4.
        sizes: Sizes of the galleries of distractors; null: all, and powers of ten below.
        resamples: Resamples of the bootstrap.
        seed: Seed of draws, unknown classes, distractors and resamples.
        device: Device of the model.
        out: Folder of evaluation.json; null: RUN/evaluation, or RUN/evaluation_DATA.
    """

    run: Path
    tasks: tuple[Task, ...] = TASKS
    data: str | None = None
    agent: Literal["saved", "none"] = "saved"
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)
    prompts: Path | None = None
    verbatim: bool = False
    shots: tuple[Positive, ...] = SHOTS
    draws: Positive = DRAWS
    unknown: Annotated[float, Field(gt=0, lt=1)] = 0.5
    corruptions: tuple[str, ...] = tuple(DGCNN)
    levels: tuple[Annotated[int, Field(ge=LEVELS[0], le=LEVELS[-1])], ...] = tuple(LEVELS)
    sizes: tuple[Positive, ...] | None = None
    resamples: Positive = 1_000
    seed: Count = 0
    device: str = "auto"
    out: Path | None = None


@dataclass(frozen=True)
class Asked(Settings):
    """Settings of a command line.

    Attributes:
        other: Settings of the other source, and seed and workers of its build, without ``data.``.
    """

    other: dict[str, Any] = field(default_factory=dict)


def parse(arguments: Sequence[str]) -> Asked:
    """The settings of a command line.

    With ``data=`` the words ``data.…=`` are those of the other source, and what the run names is named again
    as ``run.data.…=``.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or no run.
    """
    other = [word for word in arguments if word.startswith(DATA)] if _source_of(arguments) else []
    rest = [word.removeprefix(OF_RUN) for word in arguments if word not in other]
    values = values_and_named(Settings, rest, "run=outputs/mine")
    if "run" not in values:
        raise UserError("give run=FOLDER, a finished run")
    import_modules(values.get("imports", ()))
    source = values.get(SOURCE)
    settings = Asked(**values, other=_settings_of_source(source, other) if source else {})
    for name in settings.corruptions:
        if name not in SHIFTS:
            raise UserError(f"corruptions={name}: expected some of {', '.join(SHIFTS)}")
    for name in ("tasks", "shots", "levels", "corruptions", "sizes"):
        listed = getattr(settings, name) or ()
        if len(set(listed)) < len(listed):
            raise UserError(f"{name}={','.join(map(str, listed))}: one is named twice; expected each once")
    return settings


def _source_of(arguments: Sequence[str]) -> str | None:
    found = [word.partition("=")[2] for word in arguments if word.startswith(f"{SOURCE}=")]
    return found[-1] if found and found[-1].lower() not in ("", "none", "null") else None


def _settings_of_source(name: str, words: Sequence[str]) -> dict[str, Any]:
    """What the words ``data.…=`` say of a source, without the prefix."""
    with named_setting(f"data={name}"):
        own = declared(source_class(name))
    kinds = {key: _LOOSE if one.kind is Any else one.kind for key, one in own.items()} | _BUILD
    hints = {f"{DATA}{key}": kind for key, kind in kinds.items()}
    found = values_by(hints, words, f"{DATA}root=FOLDER")
    return {key.removeprefix(DATA): value for key, value in found.items() if value is not None}


def usage() -> str:
    """Help page of the command."""
    sources = [
        Line(f"data={name}", f"{summary(cls)} Settings: {', '.join(f'data.{key}' for key in declared(cls))}.")
        for name, cls in sorted(SOURCES.items())
    ]
    again = named_section()
    return page(
        "Measures what a finished run is worth: on its own test split, or on all shapes of another source.",
        ["python -m experiments.evaluate run=FOLDER [data=SOURCE data.root=...] [key=value ...]"],
        "python -m experiments.evaluate run=outputs/mine tasks=zero_shot,retrieval",
        [
            Section("settings", settings_of(Settings, but=[NAMED])),
            Section("other sources", sources),
            Section(f"{again.title}; with data=… as run.data.root=… and so on", again.lines),
        ],
    )
