"""Retrieval evaluation: ``python -m experiments.retrieval run=FOLDER``, or ``mixture=easier size=100000``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from durable.checksums import write_json
from experiments.console import process, tables
from experiments.console.writable import writable_folder
from experiments.index_evaluation import measured_tables
from experiments.index_evaluation.generated_gallery import new_source
from experiments.index_evaluation.load_run import check_run, open_run, read_config
from experiments.index_evaluation.measure import WITH_MEMORY, Measured, Problem, engines_of, measure, pinned
from experiments.index_evaluation.options import Settings, parse, usage
from experiments.index_evaluation.problems import problem_of_mixture, problems_of_new, problems_of_run
from experiments.index_evaluation.recall_plot import recall_plot
from experiments.run_folder.names import CONFIG
from experiments.run_folder.versions import versions

SCHEMA = 1
WIDTH = 170


def main(arguments: Sequence[str]) -> int:
    """Measures, prints the tables, writes the files; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Checks the settings, and measures."""
    process.keep_memory()
    settings = parse(arguments)
    if settings.run is not None:
        check_run(settings.run)
        if settings.gallery == "new":
            new_source(read_config(settings.run / CONFIG, settings.named), max(settings.size))
    out = _out(settings)
    engines_of(settings, tell=True)  # before anything slow
    with pinned(settings.threads):
        measure_problems(settings, out)
    say(f"retrieval: {out / 'retrieval.json'}")


def measure_problems(settings: Settings, out: Path) -> None:
    """Measures every problem; tables are printed and plots drawn as each is done."""
    found: dict[str, dict[str, Any]] = {}
    by_size: dict[int, Mapping[str, Measured]] = {}
    header: dict[str, Any] = {}
    for problem in _problems(settings, out, header):
        name = problem.name
        for direction, words in tables.DIRECTIONS.items():
            name = name.replace(direction, words)
        if problem.memory is not None:
            for line in measured_tables.memory_lines(name, problem.memory, len(problem.vectors)):
                say(line)
        measured = measure(problem, settings)
        plain = {engine: one for engine, one in measured.items() if not engine.endswith(WITH_MEMORY)}
        by_size[len(problem.vectors)] = plain
        title = f"{name}: {len(problem.queries):,} queries, {len(problem.vectors):,} vectors"
        tables.show(measured_tables.quality_table(measured, title), WIDTH)
        wanted = f"{title}; the fastest setting with overlap ≥ {settings.recall}"
        tables.show(measured_tables.cost_table(measured, wanted), WIDTH)
        if problem.memory is not None:
            for line in measured_tables.hubness_lines(name, problem.memory):
                say(line)
        found[problem.name] = {
            "vectors": len(problem.vectors),
            "queries": len(problem.queries),
            "plot": _plot(plain, out, problem.name, title, settings.k),
            "engines": measured_tables.as_json(measured),
        }
        if problem.memory is not None:
            with_memory = {
                engine.removesuffix(WITH_MEMORY): one
                for engine, one in measured.items()
                if engine not in plain
            }
            arm = problem.name + WITH_MEMORY, title + WITH_MEMORY
            found[problem.name] |= {
                "plot_memory": _plot(with_memory, out, *arm, settings.k),
                "memory": measured_tables.memory_json(problem.memory),
            }
        _write(settings, out, header, found)
    if len(settings.size) > 1:  # of a mixture or of new shapes
        measured_tables.size_plot(by_size, out / "size.png", settings.recall, settings.k)


def _plot(measured: Mapping[str, Measured], out: Path, name: str, title: str, k: int) -> str:
    """Draws recall against speed; the file's name."""
    path = out / f"{name.replace(',', '').replace(' × ', 'x').replace(' + ', '-').replace(' ', '-')}.png"
    recall_plot({engine: one.points for engine, one in measured.items()}, path, title=title, k=k)
    return path.name


def _problems(settings: Settings, out: Path, header: dict[str, Any]) -> Iterator[Problem]:
    """Problems to be measured, one at a time; what is known of all of them goes into the header."""
    if settings.run is None:
        for size in settings.size:
            yield problem_of_mixture(settings, size)
        return
    device = process.pick_device(settings.device)
    trained = open_run(settings.run, device, settings.named)
    make = problems_of_new if settings.gallery == "new" else problems_of_run
    problems, kept = make(trained, settings, out, device)
    header |= {"dataset": trained.results["dataset"], "bytes_per_shape": kept}
    for name, size in kept.items():
        say(f"{measured_tables.RANKINGS[name]}: {size:,} bytes a shape")
    yield from problems


def _write(settings: Settings, out: Path, header: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    content = {
        "schema": SCHEMA,
        "settings": vars(settings),
        "versions": versions(),
        **header,
        "problems": found,
    }
    write_json(out / "retrieval.json", content, default=str)


def _out(settings: Settings) -> Path:
    """The folder of the files, known to be writable before anything slow.

    Raises:
        UserError: It is not.
    """
    out = settings.out
    if out is None:
        out = Path("outputs") / "retrieval" if settings.run is None else settings.run / "retrieval"
    return writable_folder(f"out={out}", out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
