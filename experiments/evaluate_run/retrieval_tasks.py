"""Retrieval tasks: both directions by each means that a subject has, and galleries that grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from experiments.console.tables import DIRECTIONS
from experiments.evaluate_run.evaluated_shapes import Evaluated
from experiments.evaluate_run.subject import Captions, Known, Subject
from experiments.evaluate_run.task_result import Found
from experiments.evaluation.directions import Direction, directions_of
from experiments.tasks.cross_modal import CrossModal, cross_modal
from experiments.tasks.distractors import among_distractors
from experiments.tasks.measured import Bootstrap, Measured
from experiments.tasks.searched import ers_ids, nearest_ids, recall_of_exact, scores_of_ids
from models.memory import Side
from retrieval import KnownPairs

Scores = NDArray[np.floating]


def retrieval(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Both directions by exact search and ERS, with and without known pairs, and by a run's HAF."""
    captions = subject.captions
    assert captions is not None
    shown: dict[str, Sequence[Measured]] = {}
    facts: dict[str, Any] = {
        "gallery": dict(zip(("captions", "shapes"), captions.positives.shape, strict=True))
    }
    plain = _both(lambda side: _cosines(subject, captions, side))
    _add(shown, "KNN", plain, captions, bootstrap)
    known = subject.known
    remembered = None if known is None else _both(lambda side: _remembered(subject, captions, known, side))
    if known is not None and remembered is not None:
        _add(shown, "KNN + memory", remembered, captions, bootstrap)
        facts["memory"] = {"source": known.source, "strengths": known.strengths}
    _add_ers(shown, "ERS", subject, captions, plain, bootstrap)
    if remembered is not None:
        _add_ers(shown, "ERS + memory", subject, captions, remembered, bootstrap, known)
    if isinstance(subject, Evaluated):
        for row, scores in _reranked(subject).items():
            _add(shown, row, scores, captions, bootstrap)
        facts |= {
            "candidates": subject.trained.config.eval.candidates,
            "agent": None if subject.acting is None else subject.acting[2].config.agent.name,
        }
    return Found(shown, facts=facts)


def _both(scores: Callable[[str], Scores]) -> dict[str, Scores]:
    return {direction: scores(direction) for direction in DIRECTIONS}


def _sides(subject: Subject, captions: Captions, direction: str) -> tuple[Scores, Scores]:
    """Vectors that ask, and those that are searched."""
    pair = (np.asarray(captions.vectors), np.asarray(subject.vectors))
    return pair if direction == "text_to_shape" else pair[::-1]


def _cosines(subject: Subject, captions: Captions, direction: str) -> Scores:
    asking, searched = _sides(subject, captions, direction)
    return asking @ searched.T


def _remembered(subject: Subject, captions: Captions, known: Known, direction: str) -> Scores:
    asking, searched = (torch.from_numpy(own) for own in _sides(subject, captions, direction))
    asks, answers = _kinds(direction)
    device = known.memory.text.device
    recall, hubness = known.strengths[direction]
    recalled = known.memory.recall(asking.to(device), asks).cpu()
    hubs = known.memory.hubness(searched.to(device), answers).cpu()
    found: Scores = ((asking + recall * recalled) @ searched.T - hubness * hubs).numpy()
    return found


def _kinds(direction: str) -> tuple[Side, Side]:
    return ("text", "shape") if direction == "text_to_shape" else ("shape", "text")


def _add(
    shown: dict[str, Sequence[Measured]],
    row: str,
    scores: dict[str, Scores],
    captions: Captions,
    bootstrap: Bootstrap,
) -> CrossModal:
    forth, back = (scores[name] for name in DIRECTIONS)
    found = cross_modal(forth, captions.positives, captions.first, bootstrap, of_shapes=back)
    for name, words in DIRECTIONS.items():
        shown[f"{row}, {words}"] = getattr(found, name)
    return found


def _add_ers(
    shown: dict[str, Sequence[Measured]],
    row: str,
    subject: Subject,
    captions: Captions,
    exact: dict[str, Scores],
    bootstrap: Bootstrap,
    known: Known | None = None,
) -> None:
    """The measures of what ERS finds, and how much of exact search's first that is."""
    ids = {}
    for direction in DIRECTIONS:
        asking, searched = _sides(subject, captions, direction)
        pairs, strengths = None, (0.0, 0.0)
        if known is not None:
            keys, values = (
                part.float().cpu().numpy()
                for part in (
                    known.memory.known(_kinds(direction)[0]),
                    known.memory.meanings(_kinds(direction)[0]),
                )
            )
            pairs = KnownPairs(keys, values, sharpness=known.memory.sharpness)
            strengths = known.strengths[direction]
        ids[direction] = ers_ids(asking, searched, pairs, strengths, seed=subject.asked.seed)
    scores = {name: scores_of_ids(own, exact[name].shape[1]) for name, own in ids.items()}
    _add(shown, row, scores, captions, bootstrap)
    for name, words in DIRECTIONS.items():
        recall = recall_of_exact(ids[name], nearest_ids(exact[name]), bootstrap)
        shown[f"{row}, {words}"] = (*shown[f"{row}, {words}"], recall)


def _reranked(evaluated: Evaluated) -> dict[str, dict[str, Scores]]:
    """Scores of HAF on exact search's first candidates, as it is and as the agent calibrates it."""
    model, config = evaluated.trained.model, evaluated.trained.config
    acting = evaluated.acting
    gallery, made = (evaluated.gallery, None) if acting is None else acting[:2]
    by = directions_of(model, gallery, config.eval, made, torch.arange(len(gallery.similarity)))
    rows: dict[str, Callable[[Direction], Scores]] = {"HAF": lambda one: one.in_order(one.plain)}
    if made is not None:
        rows["HAF + agent"] = lambda one: one.in_order(one.calibrated_scores())
    return {row: {name: scores(by[name]) for name in DIRECTIONS} for row, scores in rows.items()}


def distractors(subject: Subject, bootstrap: Bootstrap) -> Found:
    """First captions in galleries that grow by shapes that answer none of the captions."""
    captions, strangers = subject.captions, subject.strangers
    assert captions is not None
    queries, positives = captions.vectors[captions.first], captions.positives[captions.first]
    least, most = len(subject.vectors), len(subject.vectors) + len(strangers)
    sizes = gallery_sizes(subject.asked.sizes, least, most)
    compared = sizes[-1] - least + sum(sizes)  # by exact search in one pass, and by ERS gallery by gallery
    with Tracker("searching among distractors", compared, "shapes") as tracker:
        found = among_distractors(
            queries, subject.vectors, positives, strangers, sizes, bootstrap, advance=tracker.advance
        )
    return Found(
        {f"{row}, text → {size:,} shapes": own for row, by in found.items() for size, own in by.items()},
        facts={"queries": len(queries), "distractors": sizes[-1] - least, "sizes": sizes},
    )


def gallery_sizes(asked: Sequence[int] | None, least: int, most: int) -> list[int]:
    """Sizes of galleries from ``least`` to ``most``, ascending.

    Args:
        asked: Those that are wanted; None: least, most, and powers of ten between them. What is out of reach
            is said, and of sizes that are all out of reach the most stands in.
        least: Shapes that are in each gallery.
        most: Shapes that there are.
    """
    if asked is None:
        return sorted({least, most, *(10**power for power in range(1, 9) if least < 10**power < most)})
    sizes = sorted(size for size in asked if least <= size <= most)
    if beyond := sorted(set(asked) - set(sizes)):
        named = ",".join(map(str, beyond))
        say(f"distractors: sizes={named} left out; {least:,} to {most:,} shapes are there", error=True)
    return sizes or [most]
