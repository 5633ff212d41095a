"""Tasks on a subject, one after the other: which can be measured, and what is said of those that cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from align3d.console.terminal import say
from align3d.errors import settings_of
from experiments.evaluate_run.evaluate_options import OF_MODELS, Task
from experiments.evaluate_run.evaluated_shapes import Evaluated
from experiments.evaluate_run.subject import Subject
from experiments.evaluate_run.task_result import Found
from experiments.tasks.measured import Bootstrap

Measure = Callable[[Subject, Bootstrap], Found]
MOST_SCORES = 400_000_000
"""Scores that retrieval holds at a time, several times over: 20,000 captions of as many shapes."""
_NOTHING = {"grounding": "no shape has a part with a label and a name that is asked for"}


def measure_task(task: Task, subject: Subject, measure: Measure) -> Found | None:
    """Measures a task; None where the data lack what it asks for, which is said.

    Args:
        task: Its name.
        subject: What it is measured on.
        measure: The task.
    """
    if (lacks := _lacks(task, subject)) is not None:
        say(f"{task}: not measured; {lacks}", error=True)
        return None
    with settings_of(task):
        found = measure(subject, Bootstrap(subject.asked.resamples, subject.asked.seed))
    if not found.shown:
        say(f"{task}: not measured; {_NOTHING.get(task, 'there is nothing to measure')}", error=True)
        return None
    return found


def _lacks(task: Task, subject: Subject) -> str | None:
    if task in OF_MODELS and not isinstance(subject, Evaluated):
        return "it needs the model itself, run=FOLDER, and not its embeddings"
    if task in ("retrieval", "distractors"):
        if subject.score_count > MOST_SCORES:
            return (
                f"{subject.score_count:,} pairs of a caption and a shape, at most {MOST_SCORES:,} fit; "
                "measure fewer shapes, data.size=…, and more of them as distractors"
            )
        if subject.captions is None:
            return "no embeddings of captions; give text_embeddings=FILE"
    if task in ("zero_shot", "open_set", "robustness", "few_shot"):
        if len(subject.classes.names) < 2:
            return f"the shapes have {len(subject.classes.names)} categories, expected at least two"
        if task != "few_shot" and subject.prompted is None:
            return "no embeddings of the classes; give class_embeddings=FILE"
    if task == "few_shot" and not subject.asked.of_folds and not subject.usable_shots:
        most = np.sort(np.bincount(subject.classes.labels, minlength=2))[-2]
        return f"the second largest category has {most} shapes, expected more than shots="
    if task == "distractors" and not len(subject.strangers):
        return "there is no other shape that answers none of the captions"
    return None
