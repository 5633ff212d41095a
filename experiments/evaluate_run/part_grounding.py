"""Grounding of a run's attention: words of captions, and prompts made of part names, against part labels."""

from __future__ import annotations

import dataclasses
import re

import torch

from align3d.console.terminal import say
from experiments.data.corpus import Corpus, unify
from experiments.evaluate_run.evaluated_shapes import Evaluated
from experiments.evaluate_run.subject import Subject
from experiments.evaluate_run.task_result import Found
from experiments.evaluation.gallery import encode_split
from experiments.evaluation.grounding import AFTER, BEFORE, COVERAGE, WITH_INTERVAL, grounding
from experiments.tasks.measured import Bootstrap, Measured
from experiments.tasks.prompts import spoken

CAPTIONS, CALIBRATED, PROMPTS = "captions", "captions, calibrated by the agent", "prompts of part names"
CHANCE = ("chance_pointing", "random_patch_pointing")
"""Figures without an interval that the others are compared with."""
_LETTER = re.compile(r"[^\W\d_]")


def part_grounding(subject: Subject, bootstrap: Bootstrap) -> Found:
    """Attention of the words that name a part, as `experiments.evaluation.grounding` measures it.

    Captions that name no part say nothing, so each shape is also asked by prompts made of its part names. Its
    intervals have as many resamples as those of a run.
    """
    evaluated = subject
    assert isinstance(evaluated, Evaluated)
    seed, shapes = evaluated.asked.seed, evaluated.asked.parts
    model, corpus, indices = evaluated.trained.model, evaluated.corpus, evaluated.indices
    gallery, made = (evaluated.gallery, None) if evaluated.acting is None else evaluated.acting[:2]
    found = grounding(model, corpus, indices, gallery, made, shapes=shapes, seed=seed)
    shown = {CAPTIONS: _measured(found[BEFORE])}
    if AFTER in found:
        shown[CALIBRATED] = _measured(found[AFTER])
    facts = {"coverage": {CAPTIONS: found[COVERAGE]}}
    prompted = _prompted(evaluated)
    if prompted is not None:
        rows = (prompted.texts_of >= 0).any(1).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:shapes]]
        asked = encode_split(model, prompted, rows.sort().values, evaluated.device)
        found = grounding(model, prompted, rows.sort().values, asked, shapes=shapes, seed=seed)
        shown[PROMPTS] = _measured(found[BEFORE])
        facts["coverage"][PROMPTS] = found[COVERAGE]
    shown = {title: own for title, own in shown.items() if own}
    return Found(shown, facts=facts)


def _measured(figures: dict[str, float]) -> tuple[Measured, ...]:
    """Figures of a row with their intervals; the number of pairs is their count."""
    return tuple(
        Measured(
            name.replace("_", " "),
            figures[name],
            figures.get(f"{name}_low"),
            figures.get(f"{name}_high"),
            int(figures["pairs"]),
        )
        for name in (*WITH_INTERVAL, *CHANCE)
        if name in figures
    )


def _prompted(evaluated: Evaluated) -> Corpus | None:
    """The data with prompts in place of captions; None where no part has a name."""
    corpus, wanted = evaluated.corpus, set(evaluated.indices.tolist())
    every = [_prompts(corpus, index) if index in wanted else [] for index in range(len(corpus.dataset))]
    with_parts = [index for index, own in enumerate(every) if own]
    if not with_parts:
        numbers = sum(bool(corpus.dataset.part_names[index]) for index in wanted)
        if numbers:
            say(f"grounding: no prompts; the parts of {numbers} shapes have numbers and no names", error=True)
        return None
    texts, own = unify([every[index] for index in with_parts])
    texts_of = torch.full((len(corpus.dataset), own.shape[1]), -1)
    texts_of[with_parts] = own
    features = evaluated.features(texts, "encoding prompts of parts")
    return dataclasses.replace(corpus, captions=texts, text=features, texts_of=texts_of)


def _prompts(corpus: Corpus, index: int) -> list[str]:
    """One prompt for each part of a shape that has a name."""
    whole = spoken(corpus.dataset.categories[index])
    names = dict.fromkeys(spoken(name) for name in corpus.dataset.part_names[index])
    end = f" of the {whole}" if whole else ""
    return [f"the {name}{end}" for name in names if _LETTER.search(name)]
