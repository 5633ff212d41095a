"""Settings of ``python -m experiments.retrieval`` and of its benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from experiments.console import process
from experiments.index_evaluation.engine_settings import engine_settings
from experiments.index_evaluation.memory_check import check_memory
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named
from experiments.settings.reading import import_modules
from models.rerank.cached_haf import Precision
from retrieval.engines import ENGINES
from retrieval.ers.backend import Backend

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Strength = Annotated[float, Field(ge=0, le=1e6)]
_OF_MEMORY = ("memory", "memory_recall", "memory_hubness")


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``run`` or ``mixture`` is to be given.

    Attributes:
        run: Folder of a finished run.
        mixture: Generated vectors instead of a run's.
        size: Vectors of a mixture or of gallery=new; several sizes are compared in a plot.
        dim: Width of the mixture's vectors.
        gallery: Shapes that are searched: the run's test shapes, all it has, or new ones.
        engines: Engines that are compared, with settings behind colons if wanted (ivf:nlist=512); by default
            all that are installed.
        imports: Modules to import first: they register engines and sources of your own.
        named: What the run names and the command line names again, by dotted names.
        backend: Backend of the engine ers: faiss (plain), numba (compiled), or what fits (auto).
        rerank: Rankings beside the engine's.
        candidates: Results of the engine that are re-ranked.
        keep: Results of the light re-ranker that HAF itself looks at in the cascade.
        precision: Precision of HAF's features.
        memory: Known pairs with which every engine is measured once more: the train split, or none (off).
        memory_recall: Strength of recall in the first stage; null: chosen on the reward split, as those of
            the re-rankers are.
        memory_hubness: Strength of hubness in the first stage; null: likewise.
        k: Neighbors that are asked for.
        recall: Overlap with exact search at which the engines are compared.
        queries: Queries of a mixture or of gallery=new.
        singles: Queries that are also asked one by one.
        rounds: Rounds of timing.
        threads: Threads of the engines.
        resamples: Resamples of the bootstrap.
        seed: Seed of vectors and resamples.
        device: Device of the model.
        out: Folder of retrieval.json and the plots; null: RUN/retrieval, or outputs/retrieval.
    """

    run: Path | None = None
    mixture: Literal["easier", "harder"] | None = None
    size: tuple[Positive, ...] = (100_000,)
    dim: Annotated[int, Field(ge=2)] = 256
    gallery: Literal["test", "all", "new"] = "test"
    engines: tuple[str, ...] = tuple(ENGINES)
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)
    backend: Backend = "auto"
    rerank: tuple[Literal["light", "cascade", "haf"], ...] = ("light", "cascade")
    candidates: Positive = 100
    keep: Positive = 8
    precision: Precision = "int8"
    memory: Literal["train", "off"] = "train"
    memory_recall: Strength | None = None
    memory_hubness: Strength | None = None
    k: Positive = 10
    recall: Annotated[float, Field(gt=0, le=1)] = 0.95
    queries: Positive = 1_000
    singles: Positive = 200
    rounds: Positive = 3
    threads: Positive = 1
    resamples: Positive = 10_000
    seed: Count = 0
    device: str = "auto"
    out: Path | None = None


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or settings that do not fit.
    """
    values = values_and_named(Settings, arguments, "run=outputs/mine")
    import_modules(values.get("imports", ()))
    settings = Settings(**{"engines": tuple(ENGINES)} | values)  # with those that were registered just now
    _check_together(settings, values)
    return settings


def _check_together(settings: Settings, given: dict[str, Any]) -> None:
    if (settings.run is None) == (settings.mixture is None):
        raise UserError("give one of run=FOLDER (a finished run) and mixture=easier|harder")
    if settings.run is None:
        _check_apart(
            given,
            ("gallery", "rerank", "candidates", "keep", "precision", *_OF_MEMORY),
            "run=…",
            "a mixture has no shapes to look at and no known pairs",
        )
    elif settings.gallery == "new":
        _check_apart(given, ("dim",), "mixture=…", "a run's model has its width")
    else:
        _check_apart(
            given, ("size", "dim", "queries"), "mixture=… or gallery=new", "a run has its own shapes"
        )
    if settings.memory == "off":
        _check_apart(given, _OF_MEMORY[1:], "memory=train", "memory is off")
    sized = settings.run is None or settings.gallery == "new"
    if sized and settings.queries > min(settings.size):
        raise UserError(
            f"queries={settings.queries} of {min(settings.size)} vectors: expected at most as many"
        )
    if settings.run is None:
        check_memory(max(settings.size), settings.dim, mixture=True)
    cores = process.available_cores()
    if settings.threads > cores:
        raise UserError(f"threads={settings.threads}: this process may use {cores} cores")
    for title in settings.engines:
        engine_settings(title)
    if settings.candidates < settings.k:
        raise UserError(f"candidates={settings.candidates}: expected at least k={settings.k}")


def _check_apart(given: dict[str, Any], keys: Sequence[str], owner: str, other: str) -> None:
    """Refuses settings that belong to what is not measured."""
    for key in keys:
        if key in given:
            raise UserError(f"{key}={given[key]}: belongs to {owner}; {other}")


def usage() -> str:
    """Help page of the command."""
    return page(
        "Measures the recall and speed of retrieval, on a run's shapes or on generated vectors.",
        [
            f"python -m experiments.retrieval {what} [key=value ...]"
            for what in ("run=FOLDER", "mixture=easier|harder")
        ],
        "python -m experiments.retrieval run=outputs/mine engines=ers,hnsw",
        [Section("settings", settings_of(Settings, but=[NAMED])), named_section()],
    )
