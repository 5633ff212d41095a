"""Classification tasks on a subject: zero-shot, few-shot, open-set, and under corruptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.shifts import parse_shift
from align3d.shifts.shift_registry import LEVELS
from experiments.evaluate_run.evaluated_shapes import Evaluated
from experiments.evaluate_run.published_sets import folds_of, published_corruptions
from experiments.evaluate_run.subject import Subject, Vectors
from experiments.evaluate_run.task_result import ALL_CORRUPTIONS, Found
from experiments.tasks.few_shot import FewShot, few_shot, few_shot_folds
from experiments.tasks.measured import Bootstrap, Measured
from experiments.tasks.open_set import open_set, unknown_classes
from experiments.tasks.robustness import robustness
from experiments.tasks.zero_shot import class_ranks, class_scores, zero_shot

DEVIATION = "standard deviation over supports"


def measure_zero_shot(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Categories by the ensemble of all prompts of a class, and by its first one."""
    classes, prompted = subject.classes, subject.prompted
    assert prompted is not None
    found = zero_shot(_scores(subject, subject.vectors), classes.labels, classes.names, bootstrap)
    single = class_scores(subject.vectors[classes.rows], prompted.single)
    one = zero_shot(single, classes.labels, classes.names, bootstrap)
    shown = {"prompt ensemble": found.overall, "single prompt": one.overall}
    return Found(shown, {"by class": found.by_class}, _class_facts(subject))


def measure_few_shot(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Categories from a few labeled shapes each: supports that are drawn, or the folds of a benchmark."""
    if subject.asked.of_folds:
        assert isinstance(subject, Evaluated)
        return _published_folds(subject, bootstrap)
    classes, asked = subject.classes, subject.asked
    vectors, found = subject.vectors[classes.rows], list[tuple[int, FewShot]]()
    usable = subject.usable_shots
    if left_out := [shots for shots in asked.shots if shots not in usable]:
        say(f"few_shot: too few shapes a category for shots={','.join(map(str, left_out))}", error=True)
    with Tracker("few shots", len(usable), "supports") as tracker:
        for shots in usable:
            made = few_shot(vectors, classes.labels, shots, asked.draws, asked.seed, bootstrap)
            found += [(shots, own) for own in made]
            tracker.advance()
    return _few_shot_found(found, {"draws": asked.draws, "left_out": left_out})


def _published_folds(evaluated: Evaluated, bootstrap: Bootstrap) -> Found:
    """The mean and the standard deviation over the published folds, as the field reports them."""
    folds = folds_of(evaluated)
    shots = int(np.bincount(folds[0].support_labels).max())
    made = [(shots, own) for own in few_shot_folds(folds, bootstrap)]
    return _few_shot_found(made, {"folds": len(folds), "queries": [len(own.queries) for own in folds]})


def _few_shot_found(found: list[tuple[int, FewShot]], facts: dict[str, Any]) -> Found:
    shown, spread = dict[str, list[Measured]](), dict[str, dict[int, float | None]]()
    for shots, own in found:
        shown.setdefault(own.method, []).append(own.accuracy)
        if own.spread is not None:
            deviation = Measured(own.accuracy.name, own.spread, None, None, 0)
            shown.setdefault(f"{own.method}, {DEVIATION}", []).append(deviation)
        spread.setdefault(own.method, {})[shots] = own.spread
    return Found(shown, facts={**facts, "spread": spread})


def measure_open_set(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Shapes of known classes against those of a share of the classes that have no prompts."""
    classes, asked = subject.classes, subject.asked
    unknown = unknown_classes(len(classes.names), asked.unknown, asked.seed)
    best = _scores(subject, subject.vectors)[:, ~unknown].max(axis=1)
    found = open_set(best, ~unknown[classes.labels], bootstrap)
    names = [name for name, own in zip(classes.names, unknown, strict=True) if own]
    return Found({"largest cosine": found}, facts={**_class_facts(subject), "unknown": names})


def measure_robustness(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Categories by prompts under corruptions that we make, or in the corrupted files of a benchmark."""
    assert isinstance(subject, Evaluated)
    if len(subject.asked.sets) > 1:
        corrupted, as_published = published_corruptions(subject, _right_of(subject)), True
    else:
        corrupted, as_published = _corrupted(subject), set(subject.asked.levels) == set(LEVELS)
    found = robustness(_right(subject, subject.vectors), corrupted, bootstrap)
    # DGCNN's figures are means over all levels
    overall = [own for own in found.overall if own.name not in ("mCE", "RmCE") or as_published]
    errors = {"errors by DGCNN's": found.errors} if as_published and found.errors else {}
    return Found(
        {ALL_CORRUPTIONS: overall, **found.by_kind},
        {**errors, "by level": found.by_level},
        {**_class_facts(subject), "shifts": {kind: list(levels) for kind, levels in corrupted.items()}},
    )


def _corrupted(evaluated: Evaluated) -> dict[str, dict[str, np.ndarray]]:
    """Which shapes are classified rightly under the corruptions that we make, by kind and level."""
    corrupted: dict[str, dict[str, np.ndarray]] = {}
    for kind in evaluated.asked.corruptions:
        leveled = parse_shift(kind).level is not None
        names = [f"{kind}:{level}" for level in evaluated.asked.levels] if leveled else [kind]
        corrupted[kind] = dict.fromkeys(names, np.empty(0))
    with Tracker("corruptions", sum(map(len, corrupted.values())), "corruptions") as tracker:
        for levels in corrupted.values():
            for shift in levels:
                levels[shift] = _right(evaluated, evaluated.shifted_vectors(shift))
                tracker.advance(note=shift)
    return corrupted


def _scores(subject: Subject, vectors: Vectors) -> Vectors:
    assert subject.prompted is not None
    return class_scores(vectors[subject.classes.rows], subject.prompted.ensemble)


def _right(subject: Subject, vectors: Vectors) -> np.ndarray:
    return class_ranks(_scores(subject, vectors), subject.classes.labels) == 1


def _right_of(subject: Subject) -> Callable[[Vectors], np.ndarray]:
    return lambda vectors: _right(subject, vectors)


def _class_facts(subject: Subject) -> dict[str, Any]:
    classes, prompted = subject.classes, subject.prompted
    return {
        "classes": len(classes.names),
        "shapes": len(classes.rows),
        "without_category": len(subject.vectors) - len(classes.rows),
        "prompts": {} if prompted is None else dict(prompted.facts),
    }
