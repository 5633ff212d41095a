"""Tasks on a run: what each asks of the model, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.errors import settings_of
from align3d.shifts import parse_shift
from align3d.shifts.shift_registry import LEVELS
from experiments.console.tables import DIRECTIONS
from experiments.evaluate_run.evaluate_options import Task
from experiments.evaluate_run.evaluated_shapes import Evaluated
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.directions import Direction, directions_of
from experiments.tasks.cross_modal import cross_modal
from experiments.tasks.distractors import among_distractors
from experiments.tasks.few_shot import few_shot
from experiments.tasks.measured import Bootstrap, Measured
from experiments.tasks.open_set import open_set, unknown_classes
from experiments.tasks.robustness import robustness
from experiments.tasks.zero_shot import class_ranks, class_scores, zero_shot


@dataclass(frozen=True)
class Found:
    """Result of a task.

    Attributes:
        shown: Measurements by title, for the terminal and the file.
        details: More of them, for the file alone.
        facts: What was asked.
    """

    shown: Mapping[str, Sequence[Measured]]
    details: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def measure_task(task: Task, evaluated: Evaluated) -> Found | None:
    """Measures a task; None where the data lack what it asks for, which is said."""
    if (lacks := _lacks(task, evaluated)) is not None:
        say(f"{task}: not measured; {lacks}", error=True)
        return None
    with settings_of(task):
        return _TASKS[task](evaluated, Bootstrap(evaluated.asked.resamples, evaluated.asked.seed))


def _lacks(task: Task, evaluated: Evaluated) -> str | None:
    classes = evaluated.classes
    if task in ("zero_shot", "few_shot", "open_set", "robustness") and len(classes.names) < 2:
        return f"the shapes have {len(classes.names)} categories, expected at least two"
    if task == "few_shot" and not _shots(evaluated):
        most = np.sort(np.bincount(classes.labels))[-2]
        return f"the second largest category has {most} shapes, expected more than shots="
    if task == "distractors" and not len(evaluated.strangers):
        return "every other shape of the run's data answers one of the captions"
    return None


def _zero_shot(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    classes = evaluated.classes
    found = zero_shot(_scores(evaluated, evaluated.vectors), classes.labels, classes.names, bootstrap)
    return Found({"by prompts": found.overall}, {"by class": found.by_class}, _class_facts(evaluated))


def _retrieval(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    gallery, model, config = evaluated.gallery, evaluated.trained.model, evaluated.trained.config
    every, first = torch.arange(len(gallery.similarity)), gallery.first.cpu().numpy()
    positives, made = gallery.positives.cpu().numpy(), None
    policy = evaluated.saved_agent() if evaluated.asked.agent == "saved" else None
    if policy is not None:
        bank = evaluated.bank()
        gallery = gallery if bank is None else gallery.remembering(model, bank)
        made = calibrate(model, gallery, config.eval, policy)
    elif evaluated.asked.agent == "saved":
        say("retrieval: the run has no agent that acts, so HAF is left as it is", error=True)
    by = directions_of(model, gallery, config.eval, made, every)
    rows: dict[str, Callable[[Direction], np.ndarray]] = {
        "KNN": lambda one: one.similarity.numpy(),
        "HAF": lambda one: one.in_order(one.plain),
    }
    if policy is not None:
        rows["HAF + agent"] = lambda one: one.in_order(one.calibrated_scores())
    shown: dict[str, Sequence[Measured]] = {}
    for row, scores in rows.items():
        of_texts, of_shapes = (scores(by[name]) for name in DIRECTIONS)
        found = cross_modal(of_texts, positives, first, bootstrap, of_shapes=of_shapes)
        for name, words in DIRECTIONS.items():
            shown[f"{row}, {words}"] = getattr(found, name)
    sizes = {"captions": positives.shape[0], "shapes": positives.shape[1]}
    return Found(
        shown,
        facts={
            "gallery": sizes,
            "candidates": config.eval.candidates,
            "agent": None if policy is None else policy.config.agent.name,
        },
    )


def _few_shot(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    classes, asked = evaluated.classes, evaluated.asked
    vectors, shown, spread = evaluated.vectors[classes.rows], dict[str, list[Measured]](), dict[str, Any]()
    usable = _shots(evaluated)
    if left_out := [shots for shots in asked.shots if shots not in usable]:
        say(f"few_shot: too few shapes a category for shots={','.join(map(str, left_out))}", error=True)
    with Tracker("few shots", len(usable), "supports") as tracker:
        for shots in usable:
            for own in few_shot(vectors, classes.labels, shots, asked.draws, asked.seed, bootstrap):
                shown.setdefault(own.method, []).append(own.accuracy)
                spread.setdefault(own.method, {})[shots] = own.spread
            tracker.advance()
    return Found(shown, facts={"draws": asked.draws, "spread": spread, "left_out": left_out})


def _open_set(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    classes, asked = evaluated.classes, evaluated.asked
    unknown = unknown_classes(len(classes.names), asked.unknown, asked.seed)
    best = _scores(evaluated, evaluated.vectors)[:, ~unknown].max(axis=1)
    found = open_set(best, ~unknown[classes.labels], bootstrap)
    names = [name for name, own in zip(classes.names, unknown, strict=True) if own]
    return Found({"largest cosine": found}, facts={**_class_facts(evaluated), "unknown": names})


def _robustness(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    asked = evaluated.asked
    corrupted: dict[str, dict[str, np.ndarray]] = {}
    for kind in asked.corruptions:
        leveled = parse_shift(kind).level is not None
        names = [f"{kind}:{level}" for level in asked.levels] if leveled else [kind]
        corrupted[kind] = dict.fromkeys(names, np.empty(0))
    with Tracker("corruptions", sum(map(len, corrupted.values())), "corruptions") as tracker:
        for levels in corrupted.values():
            for shift in levels:
                levels[shift] = _right(evaluated, evaluated.shifted_vectors(shift))
                tracker.advance()
    found = robustness(_right(evaluated, evaluated.vectors), corrupted, bootstrap)
    as_published = set(asked.levels) == set(LEVELS)  # DGCNN's figures are means over all levels
    overall = [own for own in found.overall if own.name != "mCE" or as_published]
    by_kind = {"by kind": found.by_kind} if as_published else {}
    return Found(
        {"zero-shot": overall},
        {**by_kind, "by level": found.by_level},
        {**_class_facts(evaluated), "shifts": {kind: list(levels) for kind, levels in corrupted.items()}},
    )


def _distractors(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    gallery, strangers = evaluated.gallery, evaluated.strangers
    queries = gallery.text.embedding[gallery.first].float().cpu().numpy()
    positives = gallery.positives[gallery.first.cpu()].numpy()
    least, most = len(evaluated.vectors), len(evaluated.vectors) + len(strangers)
    sizes = sorted({least, most, *(10**power for power in range(1, 9) if least < 10**power < most)})
    if evaluated.asked.sizes is not None:
        sizes = sorted(size for size in evaluated.asked.sizes if least <= size <= most)
        if beyond := [size for size in evaluated.asked.sizes if size not in sizes]:
            say(f"distractors: sizes={beyond} left out; {least} to {most} shapes are there", error=True)
        sizes = sizes or [most]
    found = among_distractors(queries, evaluated.vectors, positives, strangers, sizes, bootstrap)
    return Found(
        {f"KNN, text → {size:,} shapes": own for size, own in found.items()},
        facts={"queries": len(queries), "distractors": len(strangers), "sizes": sizes},
    )


_TASKS: dict[Task, Callable[[Evaluated, Bootstrap], Found]] = {
    "zero_shot": _zero_shot,
    "retrieval": _retrieval,
    "few_shot": _few_shot,
    "open_set": _open_set,
    "robustness": _robustness,
    "distractors": _distractors,
}


def _shots(evaluated: Evaluated) -> list[int]:
    """Shots for which at least two classes have more shapes."""
    sizes = np.bincount(evaluated.classes.labels)
    return [shots for shots in evaluated.asked.shots if (sizes > shots).sum() >= 2]


def _scores(evaluated: Evaluated, vectors: np.ndarray) -> np.ndarray:
    return class_scores(vectors[evaluated.classes.rows], evaluated.class_vectors)


def _right(evaluated: Evaluated, vectors: np.ndarray) -> np.ndarray:
    return class_ranks(_scores(evaluated, vectors), evaluated.classes.labels) == 1


def _class_facts(evaluated: Evaluated) -> dict[str, Any]:
    prompts, classes = evaluated.prompts, evaluated.classes
    return {
        "classes": len(classes.names),
        "shapes": len(classes.rows),
        "without_category": len(evaluated.indices) - len(classes.rows),
        "prompts": {
            "name": prompts.name,
            "hash": prompts.hash,
            "templates": len(prompts.templates),
            "verbatim": prompts.verbatim,
        },
    }
