"""Evaluation of a finished run on its own or on other data: ``python -m experiments.evaluate run=FOLDER``."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from align3d.errors import UserError
from durable.checksums import write_json
from durable.whole_files import write_text
from experiments.console import process, tables
from experiments.console.writable import writable_folder
from experiments.evaluate_run.classification_tasks import (
    measure_few_shot,
    measure_open_set,
    measure_robustness,
    measure_zero_shot,
)
from experiments.evaluate_run.evaluate_options import OF_RUN, Asked, Task, parse, usage
from experiments.evaluate_run.evaluated_shapes import evaluated_shapes
from experiments.evaluate_run.evaluation_page import evaluation_page
from experiments.evaluate_run.evaluation_tables import as_json, task_tables
from experiments.evaluate_run.frozen_embeddings import frozen_embeddings
from experiments.evaluate_run.part_grounding import part_grounding
from experiments.evaluate_run.retrieval_tasks import distractors, retrieval
from experiments.evaluate_run.run_tasks import Measure, measure_task
from experiments.evaluate_run.subject import Subject
from experiments.index_evaluation.load_run import Trained, check_run, open_run
from experiments.run_folder.checkpoint import fingerprint
from experiments.run_folder.readers import read_json
from experiments.run_folder.versions import versions
from experiments.settings.named_again import DATA

SCHEMA = 2
TASKS: dict[Task, Measure] = {
    "zero_shot": measure_zero_shot,
    "retrieval": retrieval,
    "few_shot": measure_few_shot,
    "open_set": measure_open_set,
    "robustness": measure_robustness,
    "grounding": part_grounding,
    "distractors": distractors,
}
WIDTH = 140
FILE, PAGE = "evaluation.json", "evaluation.html"


def main(arguments: Sequence[str]) -> int:
    """Measures, prints the tables, writes the file; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Checks the settings, and measures."""
    process.keep_memory()
    process.use_threads(None)
    asked = parse(arguments)
    checkpoint = None if asked.run is None else fingerprint(check_run(asked.run))
    folder = asked.out or _folder(asked)
    out = writable_folder(f"out={folder}", folder)
    subject = _subject(asked, process.pick_device(asked.device))
    content = {
        "schema": SCHEMA,
        "settings": vars(asked),
        "run": None if asked.run is None else str(asked.run),
        "checkpoint": checkpoint,
        **subject.facts(),
        "versions": versions(),
        "machine": {"cores": process.available_cores(), "system": platform.platform()},
        "tasks": {},
    }
    for task in asked.measured:
        found = measure_task(task, subject, TASKS[task])
        if found is None:
            continue
        for table in task_tables(task, found, subject.variant, tables.columns(WIDTH)):
            tables.show(table, WIDTH)
        content["tasks"][task] = as_json(found)
        _write(content, out)  # those that are done, if one of the next is cut off
    _write(content, out)
    say(f"evaluation: {out / FILE}, {out / PAGE}")


def _write(content: dict[str, Any], out: Path) -> None:
    write_json(out / FILE, content, default=str)
    write_text(out / PAGE, evaluation_page(read_json(out / FILE)))


def _subject(asked: Asked, device: torch.device) -> Subject:
    trained = None if asked.run is None else _opened(asked, asked.run, device)
    if asked.embeddings is not None:
        return frozen_embeddings(asked, None if trained is None else trained.corpus)
    assert trained is not None
    return evaluated_shapes(trained, asked, device)


def _opened(asked: Asked, folder: Path, device: torch.device) -> Trained:
    try:
        return open_run(folder, device, asked.named, reads_memory=asked.agent == "saved")
    except UserError as error:
        if asked.data is None or f" {DATA}" not in str(error):
            raise
        raise UserError(
            f"{error} (beside data={asked.data} what is the run's has a prefix: {OF_RUN}{DATA}root=…)"
        ) from error


def _folder(asked: Asked) -> Path:
    if asked.run is None:
        assert asked.embeddings is not None
        return asked.embeddings.with_name(f"{asked.embeddings.stem}_evaluation")
    words = [asked.benchmark or asked.data, None if asked.embeddings is None else asked.embeddings.stem]
    kinds = (re.sub("[^A-Za-z0-9]+", "_", word) for word in words if word is not None)
    return asked.run / "_".join(["evaluation", *kinds])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
