"""Evaluation of a finished run on its own or on other data: ``python -m experiments.evaluate run=FOLDER``."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from typing import Any

import torch

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from align3d.errors import UserError
from durable.checksums import write_json
from experiments.console import process, tables
from experiments.console.writable import writable_folder
from experiments.evaluate_run.evaluate_options import OF_RUN, Asked, parse, usage
from experiments.evaluate_run.evaluated_shapes import Evaluated, evaluated_shapes
from experiments.evaluate_run.evaluation_tables import as_json, task_table
from experiments.evaluate_run.run_tasks import measure_task
from experiments.index_evaluation.load_run import Trained, check_run, open_run
from experiments.run_folder.checkpoint import fingerprint
from experiments.run_folder.versions import versions
from experiments.settings.named_again import DATA

SCHEMA = 1
WIDTH = 120
FILE = "evaluation.json"


def main(arguments: Sequence[str]) -> int:
    """Measures, prints the tables, writes the file; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Checks the settings, and measures."""
    process.keep_memory()
    process.use_threads(None)
    asked = parse(arguments)
    checkpoint = fingerprint(check_run(asked.run))
    folder = asked.out or asked.run / _folder_name(asked)
    out = writable_folder(f"out={folder}", folder)
    device = process.pick_device(asked.device)
    trained = _opened(asked, device)
    evaluated = evaluated_shapes(trained, asked, device)
    content = _facts(evaluated, checkpoint)
    for task in asked.tasks:
        found = measure_task(task, evaluated)
        if found is None:
            continue
        tables.show(task_table(task, found, evaluated.variant), WIDTH)
        content["tasks"][task] = as_json(found)
        write_json(out / FILE, content, default=str)  # those that are done, if one of the next is cut off
    write_json(out / FILE, content, default=str)
    say(f"evaluation: {out / FILE}")


def _opened(asked: Asked, device: torch.device) -> Trained:
    try:
        return open_run(asked.run, device, asked.named, reads_memory=asked.agent == "saved")
    except UserError as error:
        if asked.data is None or f" {DATA}" not in str(error):
            raise
        raise UserError(
            f"{error} (beside data={asked.data} what is the run's has a prefix: {OF_RUN}{DATA}root=…)"
        ) from error


def _folder_name(asked: Asked) -> str:
    if asked.data is None:
        return "evaluation"
    return f"evaluation_{re.sub('[^A-Za-z0-9]+', '_', asked.data)}"


def _facts(evaluated: Evaluated, checkpoint: str) -> dict[str, Any]:
    """Subject of the numbers."""
    asked, config, dataset = evaluated.asked, evaluated.trained.config, evaluated.corpus.dataset
    texts = evaluated.corpus.unique_texts(evaluated.indices)
    return {
        "schema": SCHEMA,
        "settings": vars(asked),
        "run": str(asked.run),
        "checkpoint": checkpoint,
        "data": {
            "name": dataset.name,
            "hash": dataset.hash,
            "variant": evaluated.variant,
            "shapes": len(evaluated.indices),
            "captions": len(texts),
            "categories": len(evaluated.classes.names),
            "left_out": evaluated.left_out,
            "up_axis": dataset.up_axis,
            "points": config.model.points,
            "normalization": "centered at the mean, the farthest point at 1",
            "missing_color": "0.4 gray",
        },
        "text_encoder": config.train.text_encoder,
        "versions": versions(),
        "machine": {"cores": process.available_cores(), "system": platform.platform()},
        "tasks": {},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
