"""Settings of ``python -m experiments.retrieval`` and of its benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from align3d.console.arguments import listed, values_of
from align3d.errors import UserError, did_you_mean
from experiments.console import process
from experiments.index_evaluation.memory_check import check_memory
from experiments.settings.schema import import_modules
from models.rerank.cached_haf import Precision
from retrieval.engines import ENGINES
from retrieval.ers.backend import Backend

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Settings:
    """What is measured; ``run`` or ``mixture`` is to be given."""

    run: Path | None = None  # the folder of a finished run
    mixture: Literal["easier", "harder"] | None = None  # made vectors instead of a run's
    size: tuple[Positive, ...] = (100_000,)  # of a mixture or of gallery=new; several are compared in a plot
    dim: Annotated[int, Field(ge=2)] = 256  # of the mixture's vectors
    gallery: Literal["test", "all", "new"] = "test"  # the run's test shapes, all it has, or new ones
    engines: tuple[str, ...] = tuple(ENGINES)  # by default all that are installed
    imports: tuple[str, ...] = ()  # modules to import first: they register engines of your own
    backend: Backend = "auto"  # of ers: faiss (plain) or numba (compiled)
    rerank: tuple[Literal["light", "cascade", "haf"], ...] = (
        "light",
        "cascade",
    )  # rankings beside the engine's
    candidates: Positive = 100  # that are re-ranked
    keep: Positive = 8  # of these, by the light re-ranker, that HAF itself looks at in the cascade
    precision: Precision = "int8"  # of HAF's features
    k: Positive = 10  # neighbours
    recall: Annotated[float, Field(gt=0, le=1)] = 0.95  # overlap at which the engines are compared
    queries: Positive = 1_000  # of a mixture or of gallery=new
    singles: Positive = 200  # queries that are also asked one by one
    rounds: Positive = 3  # turns of the timing
    threads: Positive = 1
    resamples: Positive = 10_000  # of the bootstrap
    seed: Count = 0
    device: str = "auto"  # of the model
    out: Path | None = (
        None  # folder of retrieval.json and the plots; default: RUN/retrieval, outputs/retrieval
    )


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        UserError: a setting that there is not, a value of the wrong kind, or settings that do not fit.
    """
    values = values_of(Settings, arguments, "run=outputs/mine")
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
            ("gallery", "rerank", "candidates", "keep", "precision"),
            "run=…",
            "a mixture has no shapes to look at",
        )
    elif settings.gallery == "new":
        _check_apart(given, ("dim",), "mixture=…", "a run's model has its width")
    else:
        _check_apart(
            given, ("size", "dim", "queries"), "mixture=… or gallery=new", "a run has its own shapes"
        )
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
    for name in settings.engines:
        if name not in ENGINES:
            close = did_you_mean(name, ENGINES)
            raise UserError(f"engines={name}: no such engine{close} (known: {', '.join(ENGINES)})")
    if settings.candidates < settings.k:
        raise UserError(f"candidates={settings.candidates}: expected at least k={settings.k}")


def _check_apart(given: dict[str, Any], keys: Sequence[str], owner: str, other: str) -> None:
    """Refuses settings that belong to what is not measured."""
    for key in keys:
        if key in given:
            raise UserError(f"{key}={given[key]}: belongs to {owner}; {other}")


def usage() -> str:
    """What there is."""
    first = "python -m experiments.retrieval run=FOLDER | mixture=easier|harder [key=value ...]"
    return f"{first}\n\n{listed(Settings)}"
