"""Strengths that are alike for all queries: there where known pairs tell something, and else at rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.evaluation.directions import Direction, Library
from experiments.evaluation.fixed_strengths import GRID, as_json, choose
from experiments.evaluation.gallery import Stage
from models import AlignmentMemory
from models.library import pair_recall

QUERIES, PAIRS, WIDTH, CANDIDATES, SCALE = 150, 600, 16, 16, 10.0
STAGES: tuple[Stage, ...] = ("search", "rerank")


def unit(values: Tensor) -> Tensor:
    return torch.nn.functional.normalize(values, dim=-1)


def world(seed: int, *, useful: bool) -> Direction:
    """Texts that lie apart from their shapes in a way that known pairs show, or that random ones do not."""
    draws = torch.Generator().manual_seed(seed)

    def normal(count: int) -> Tensor:
        return torch.randn(count, WIDTH, generator=draws)

    turned = torch.eye(WIDTH) + 0.35 * normal(WIDTH)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        meant = unit(normal(count))
        return unit(meant @ turned + 0.07 * normal(count)), unit(meant + 0.07 * normal(count))

    text, shape = pairs(QUERIES)
    known = pairs(PAIRS) if useful else (unit(normal(PAIRS)), unit(normal(PAIRS)))
    rows = torch.arange(PAIRS)
    memory = AlignmentMemory(*known, torch.stack([rows, rows], dim=1), sharpness=20.0)
    similarity = text @ shape.T
    candidates = similarity.topk(CANDIDATES, dim=1).indices
    recalled, answers = memory.recall(text, "text"), memory.recall(shape, "shape")
    own = torch.arange(QUERIES).unsqueeze(1).expand_as(candidates)
    hubness = memory.hubness(shape, "shape", 10.0)
    plain = SCALE * similarity.gather(1, candidates)
    return Direction(
        similarity=similarity,
        positives=torch.eye(QUERIES, dtype=torch.bool),
        candidates=candidates,
        plain=plain,
        attended=plain,
        strengths=torch.zeros(QUERIES, 2),
        library=Library(
            recalled=recalled @ shape.T,
            hubness=hubness,
            pair_recall=pair_recall(text[own], shape[candidates], recalled[own], answers[candidates], SCALE),
            fine_hubness=SCALE * hubness[candidates],
        ),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_useful_memory_is_used(seed: int) -> None:
    learned = world(seed, useful=True)
    for stage in STAGES:
        strengths = choose([{"one": learned}])[stage, "one"]
        assert strengths.recall > 0
        assert 0 < strengths.sure < strengths.gain
        gains = 1 / learned.ranks(stage, strengths.recall, strengths.hubness) - 1 / learned.ranks(stage)
        assert strengths.gain == pytest.approx(gains.mean(), abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_memory_of_random_pairs_rests(seed: int) -> None:
    direction = world(seed, useful=False)
    for stage in STAGES:
        strengths = choose([{"one": direction}])[stage, "one"]
        assert strengths.rest
        assert strengths.sure <= 0
        harm = 1 / direction.ranks(stage, 2.0, 0.0) - 1 / direction.ranks(stage)
        assert harm.mean() < 0, "it would do harm"


def test_it_is_the_best_of_the_grid() -> None:
    direction = world(0, useful=True)
    for stage in STAGES:
        strengths = choose([{"one": direction}])[stage, "one"]
        before = 1 / direction.ranks(stage)
        gains = [(1 / direction.ranks(stage, r, h) - before).mean() for r in GRID for h in GRID]
        chosen = (1 / direction.ranks(stage, strengths.recall, strengths.hubness) - before).mean()
        assert chosen == pytest.approx(max(gains))


def test_galleries_count_equally() -> None:
    """Beside one that it harms, a memory counts for less than alone."""
    useful, useless = world(0, useful=True), world(0, useful=False)
    alone = choose([{"one": useful}])["search", "one"]
    both = choose([{"one": useful}, {"one": useless}])["search", "one"]
    gains = [
        1 / one.ranks("search", both.recall, both.hubness) - 1 / one.ranks("search")
        for one in (useful, useless)
    ]
    assert both.gain == pytest.approx(float(np.mean(gains)), abs=0.05)
    assert both.gain < alone.gain


def test_results_hold_every_stage_and_direction() -> None:
    said = as_json(choose([{"one": world(0, useful=True), "other": world(1, useful=False)}]))
    assert {stage: set(found) for stage, found in said.items()} == {
        stage: {"one", "other"} for stage in STAGES
    }
    assert set(said["search"]["other"]) == {"recall", "hubness", "gain", "sure", "shared"}
    assert (said["search"]["other"]["recall"], said["search"]["other"]["hubness"]) == (0, 0)


def few(direction: Direction, count: int) -> Direction:
    """The first queries of a direction: so few that a gain is hard to tell from nothing."""
    values = {field.name: getattr(direction, field.name) for field in dataclasses.fields(direction)}
    library = values.pop("library")
    return Direction(
        **{name: value[:count] for name, value in values.items()},
        library=Library(
            recalled=library.recalled[:count],
            hubness=library.hubness,
            pair_recall=library.pair_recall[:count],
            fine_hubness=library.fine_hubness[:count],
        ),
    )


def test_directions_that_gain_together_share_their_strengths() -> None:
    """Where one by itself has too few queries, and the gain of both is sure."""
    shared = 0
    for seed in range(8):
        pair = {name: few(world(seed + 20 * k, useful=True), 16) for k, name in enumerate("ab")}
        found = choose([pair])
        for (stage, name), one in found.items():
            alone = choose([{name: pair[name]}])[stage, name]
            if not one.shared:
                assert one == alone, "who gains alone keeps its own"
                continue
            shared += 1
            assert alone.rest
            assert one.sure > 0
            assert (1 / pair[name].ranks(stage, one.recall, one.hubness)).mean() > (
                1 / pair[name].ranks(stage)
            ).mean()
    assert shared


def test_a_direction_that_would_lose_does_not_share() -> None:
    found = choose([{"one": world(0, useful=True), "other": world(1, useful=False)}])
    assert not found["search", "other"].shared
    assert not found["search", "one"].shared
