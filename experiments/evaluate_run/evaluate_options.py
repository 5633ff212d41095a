"""Settings of ``python -m experiments.evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from align3d.console.arguments import values_by
from align3d.console.declarations import declared, summary
from align3d.console.help_page import Line, Section, page, settings_of
from align3d.errors import UserError, did_you_mean
from align3d.errors import settings_of as named_setting
from align3d.shifts import SHIFTS
from align3d.shifts.shift_registry import CLEAN, LEVELS
from align3d.sources import SOURCES, source_class
from align3d.sources.benchmarks.standard_settings import BENCHMARKS, StandardSettings
from experiments.index_evaluation.options import Count, Positive
from experiments.settings.named_again import DATA, NAMED, Named, named_section, values_and_named
from experiments.settings.reading import import_modules
from experiments.tasks.few_shot import DRAWS, SHOTS
from experiments.tasks.robustness import DGCNN

Task = Literal["zero_shot", "retrieval", "few_shot", "open_set", "robustness", "grounding", "distractors"]
TASKS: tuple[Task, ...] = (
    *("zero_shot", "retrieval", "few_shot", "open_set"),
    *("robustness", "grounding", "distractors"),
)
OF_RUN = "run."
SOURCE, BENCHMARK = "data", "benchmark"
OF_MODELS: tuple[Task, ...] = ("robustness", "grounding")
"""Tasks that ask more of a model than embeddings of the shapes as they are."""
FROZEN = ("text_embeddings", "class_embeddings", "distractor_embeddings")
_BUILD: dict[str, Any] = {"seed": Count, "workers": Positive | None}
_LOOSE = Annotated[int | float | bool | str, Field(union_mode="left_to_right")]


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` or ``embeddings`` is to be given.

    Attributes:
        run: Folder of a finished run.
        tasks: Tasks that are measured; null: all, or those that the field reports on the benchmark.
        benchmark: Published benchmark: stands for data=, its settings and tasks as the field has them; name
            its files by data.root=…
        data: Another source, all of whose shapes are measured; null: the run's own test split. Its settings
            are given as data.root=… and so on.
        embeddings: File of another model's embeddings of the shapes (.npy, .safetensors, .npz), measured in
            place of the run's.
        text_embeddings: File of its embeddings of the captions.
        class_embeddings: File of its embeddings of the classes' prompts.
        distractor_embeddings: File of its embeddings of shapes that answer none of the captions.
        agent: Whether the run's agent calibrates HAF in retrieval (saved), or HAF is left as it is (none).
        imports: Modules to import first: they register sources and agents of your own.
        named: What the run names and the command line names again, by dotted names.
        prompts: File of the prompt templates, one a line with {} for the class; null: our 64.
        verbatim: Put labels into prompts as they are written, as for Objaverse-LVIS.
        shots: Shapes of each class in the support of few_shot.
        draws: Supports that are drawn.
        unknown: Share of the classes that are unknown in open_set.
        corruptions: Corruptions of robustness: those of ModelNet-C, and ours besides.
        levels: Levels of these, from 0 to 4.
        sizes: Sizes of the galleries of distractors, such as 1000,10000,100000,1000000; null: all shapes that
            there are, and powers of ten below.
        generate: Whether shapes are made for galleries that are larger than the shapes that there are.
        parts: Shapes with a named part that grounding is measured on, at most.
        resamples: Resamples of the bootstrap.
        seed: Seed of draws, unknown classes, distractors and resamples.
        device: Device of the model.
        out: Folder of evaluation.json and evaluation.html; null: RUN/evaluation, or RUN/evaluation_DATA; of
            embeddings without a run FILE_evaluation beside them.
    """

    run: Path | None = None
    tasks: tuple[Task, ...] | None = None
    benchmark: str | None = None
    data: str | None = None
    embeddings: Path | None = None
    text_embeddings: Path | None = None
    class_embeddings: Path | None = None
    distractor_embeddings: Path | None = None
    agent: Literal["saved", "none"] = "saved"
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)
    prompts: Path | None = None
    verbatim: bool = False
    shots: tuple[Positive, ...] = SHOTS
    draws: Positive = DRAWS
    unknown: Annotated[float, Field(gt=0, lt=1)] = 0.5
    corruptions: tuple[str, ...] = (*DGCNN, *(name for name in SHIFTS if name not in (CLEAN, *DGCNN)))
    levels: tuple[Annotated[int, Field(ge=LEVELS[0], le=LEVELS[-1])], ...] = tuple(LEVELS)
    sizes: tuple[Positive, ...] | None = None
    generate: bool = True
    parts: Positive = 500
    resamples: Positive = 1_000
    seed: Count = 0
    device: str = "auto"
    out: Path | None = None


@dataclass(frozen=True)
class Asked(Settings):
    """Settings of a command line.

    Attributes:
        other: Settings of the other source, and seed and workers of its build, without ``data.``.
        sets: Further settings of each of the sets that one result of the benchmark is made of.
    """

    other: dict[str, Any] = field(default_factory=dict)
    sets: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def of_folds(self) -> bool:
        """Whether the benchmark is made of folds of few shots."""
        return "fold" in self.sets[0]

    @property
    def measured(self) -> tuple[Task, ...]:
        """The tasks in their order."""
        return TASKS if self.tasks is None else self.tasks


def parse(arguments: Sequence[str]) -> Asked:
    """The settings of a command line.

    With ``data=`` or ``benchmark=`` the words ``data.…=`` are those of the other source, and what the run
    names is named again as ``run.data.…=``.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, neither a run nor embeddings, or
            what does not go together.
    """
    elsewhere = _given(arguments, SOURCE) or _given(arguments, BENCHMARK)
    other = [word for word in arguments if word.startswith(DATA)] if elsewhere else []
    rest = [word.removeprefix(OF_RUN) for word in arguments if word not in other]
    values = values_and_named(Settings, rest, "run=outputs/mine")
    if values.get("run") is None and values.get("embeddings") is None:
        raise UserError("give run=FOLDER, a finished run, or embeddings=FILE, those of another model")
    import_modules(values.get("imports", ()))
    standard = _standard(values)
    source = values.get(SOURCE)
    found = _settings_of_source(source, other) if source else {}
    if standard is None:
        settings = Asked(**values, other=found)
    else:
        keys = {key for own in standard.sets for key in own}
        wanted = {key: found.pop(key) for key in keys if key in found}
        sets = tuple(own for own in standard.sets if _is_wanted(own, wanted))
        if len(sets) < 1 + any(own.get("corruption") == CLEAN for own in sets):
            words = " ".join(f"{DATA}{key}={value}" for key, value in wanted.items())
            raise UserError(
                f"benchmark={values[BENCHMARK]} {words}: none of its {len(standard.sets)} sets is so"
            )
        values = {**standard.evaluation, **values}
        settings = Asked(**values, other={**standard.settings, **found}, sets=sets)
    _check(settings)
    return settings


def _is_wanted(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a set has the settings of the command line, or is what corrupted ones are compared with."""
    return own.get("corruption") == CLEAN or all(own.get(key) == value for key, value in wanted.items())


def _check(settings: Asked) -> None:
    for name in settings.corruptions:
        if name not in SHIFTS:
            raise UserError(f"corruptions={name}: expected some of {', '.join(SHIFTS)}")
    for name in ("tasks", "shots", "levels", "corruptions", "sizes"):
        listed = getattr(settings, name) or ()
        if len(set(listed)) < len(listed):
            raise UserError(f"{name}={','.join(map(str, listed))}: one is named twice; expected each once")
    for name in FROZEN:
        if getattr(settings, name) is not None and settings.embeddings is None:
            raise UserError(f"{name}={getattr(settings, name)}: belongs to embeddings=FILE, which is missing")
    if settings.embeddings is None:
        return
    if settings.run is not None and settings.data is not None:
        raise UserError(
            "embeddings= with run= and data=: expected one of these, whose ids, captions and categories count"
        )
    if len(settings.sets) > 1:
        raise UserError(
            f"benchmark={settings.benchmark}: made of {len(settings.sets)} sets of shapes, which one file of "
            "embeddings does not hold; expected run=FOLDER"
        )
    if settings.tasks is not None and (wrong := [task for task in settings.tasks if task in OF_MODELS]):
        raise UserError(f"tasks={wrong[0]}: needs the model itself, run=FOLDER, and not its embeddings")


def _standard(values: dict[str, Any]) -> StandardSettings | None:
    """Standard settings of the benchmark; its source and tasks are put among the values."""
    name = values.get(BENCHMARK)
    if name is None:
        return None
    if values.get(SOURCE) is not None:
        raise UserError(f"benchmark={name} data={values[SOURCE]}: expected one of these")
    if name not in BENCHMARKS:
        raise UserError(
            f"benchmark={name}: expected one of {', '.join(BENCHMARKS)}{did_you_mean(name, BENCHMARKS)}"
        )
    standard = BENCHMARKS[name]
    values[SOURCE] = standard.source
    if values.get("tasks") is None:
        values["tasks"] = tuple(task for task in TASKS if task in standard.tasks)
    return standard


def _given(arguments: Sequence[str], name: str) -> str | None:
    found = [word.partition("=")[2] for word in arguments if word.startswith(f"{name}=")]
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
    benchmarks = [
        Line(f"{BENCHMARK}={name}", f"data={own.source}, tasks={','.join(own.tasks)}")
        for name, own in BENCHMARKS.items()
    ]
    again = named_section()
    return page(
        "Measures what a finished run is worth: on its own test split, or on all shapes of another source; "
        "or what another model's embeddings are worth.",
        [
            "python -m experiments.evaluate run=FOLDER [data=SOURCE data.root=...] [key=value ...]",
            "python -m experiments.evaluate run=FOLDER benchmark=NAME data.root=FOLDER [key=value ...]",
            "python -m experiments.evaluate embeddings=FILE [text_embeddings=FILE] [key=value ...]",
        ],
        "python -m experiments.evaluate run=outputs/mine tasks=zero_shot,retrieval",
        [
            Section("settings", settings_of(Settings, but=[NAMED])),
            Section("published benchmarks", benchmarks),
            Section("other sources", sources),
            Section(f"{again.title}; with data=… as run.data.root=… and so on", again.lines),
        ],
    )
