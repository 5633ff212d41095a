"""Retrieval tasks against scikit-learn and direct loops: both directions, and galleries that grow."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import ndcg_score

from experiments.tasks.cross_modal import cross_modal
from experiments.tasks.distractors import among_distractors, ranks_among
from experiments.tasks.measured import Bootstrap
from experiments.tasks.prompts import unit

FEW = Bootstrap(100)


def best_ranks(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Place of the first right item in a sorted list, one query after the other."""
    return np.array(
        [
            next(rank for rank, item in enumerate(np.argsort(-row), 1) if right[item])
            for row, right in zip(scores, positives, strict=True)
        ]
    )


def test_both_directions_are_those_of_a_loop_and_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    positives = np.zeros((30, 20), bool)
    positives[np.arange(30), np.arange(30) % 20] = True
    positives[5, 7] = positives[26, 2] = True  # captions of two shapes
    scores = rng.normal(size=(30, 20)) + positives
    first = np.arange(20)
    found = cross_modal(scores, positives, first, FEW)
    forward, backward = best_ranks(scores, positives), best_ranks(scores.T, positives.T)
    values = {own.name: own for own in found.text_to_shape}
    for name, ranks in (("R@", forward[first]), ("RR@", forward)):
        for k in (1, 5):
            assert values[f"{name}{k}"].value == pytest.approx((ranks <= k).mean())
            assert values[f"{name}{k}"].count == len(ranks)
    assert values["MRR"].value == pytest.approx((1 / forward[first]).mean())
    assert values["NDCG@5"].value == pytest.approx(ndcg_score(positives, scores, k=5))
    values = {own.name: own for own in found.shape_to_text}
    for k in (1, 5, 10):
        assert values[f"R@{k}"].value == pytest.approx((backward <= k).mean())
    assert values["RR@5"] == values["R@5"].__class__(**{**vars(values["R@5"]), "name": "RR@5"})
    assert values["MRR"].value == pytest.approx((1 / backward).mean())
    assert values["NDCG@5"].value == pytest.approx(ndcg_score(positives.T, scores.T, k=5))
    assert (found.captions, found.shapes) == (30, 20)


def trec_eval(scores: np.ndarray, positives: np.ndarray) -> dict[str, float]:
    """Means over queries by the reference program of TREC."""
    names = [[f"{row:03d}" for row in range(size)] for size in scores.shape]
    right = {
        query: {item: int(own) for item, own in zip(names[1], row, strict=True)}
        for query, row in zip(names[0], positives, strict=True)
    }
    ranked = {
        query: dict(zip(names[1], row.tolist(), strict=True))
        for query, row in zip(names[0], scores, strict=True)
    }
    measures = {"success.1,5,10", "recip_rank", "ndcg_cut.5"}
    found = pytrec_eval.RelevanceEvaluator(right, measures).evaluate(ranked)
    return {name: float(np.mean([own[name] for own in found.values()])) for name in found[names[0][0]]}


@pytest.mark.parametrize("seed", range(3))
def test_both_directions_are_those_of_trec_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positives = rng.random((60, 25)) < 0.05
    positives[np.arange(60), np.arange(60) % 25] = True
    scores, first = rng.normal(size=(60, 25)) + 1.5 * positives, np.arange(25)
    found = cross_modal(scores, positives, first, FEW)
    every, firsts = trec_eval(scores, positives), trec_eval(scores[first], positives[first])
    shapes = trec_eval(scores.T, positives.T)
    for measured, expected in (
        (found.text_to_shape, (firsts, every)),
        (found.shape_to_text, (shapes, shapes)),
    ):
        values = {own.name: own.value for own in measured}
        for k in (1, 5, 10):
            assert values[f"R@{k}"] == pytest.approx(expected[0][f"success_{k}"])
        for k in (1, 5):
            assert values[f"RR@{k}"] == pytest.approx(expected[1][f"success_{k}"])
        assert values["MRR"] == pytest.approx(expected[0]["recip_rank"])
        assert values["NDCG@5"] == pytest.approx(expected[1]["ndcg_cut_5"])


def test_equal_scores_earn_nothing() -> None:
    found = cross_modal(np.zeros((12, 12)), np.eye(12, dtype=bool), np.arange(12), FEW)
    for own in (*found.text_to_shape, *found.shape_to_text):
        assert own.value == pytest.approx(1 / 12 if own.name == "MRR" else 0.0)


def test_a_caption_of_no_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="caption 1 is of none of the shapes"):
        cross_modal(np.zeros((2, 2)), np.array([[True, False], [False, False]]), np.array([0, 0]))


def test_galleries_that_grow_are_searched_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    gallery, distractors = rng.normal(size=(15, 4)), rng.normal(size=(85, 4))
    queries = gallery + 0.4 * rng.normal(size=(15, 4))
    positives, sizes = np.eye(15, dtype=bool), (15, 40, 100)
    monkeypatch.setattr("experiments.tasks.distractors.BLOCK", 15 * 7)  # seven distractors at a time
    found = ranks_among(queries, gallery, positives, distractors, sizes)
    everything = unit(np.concatenate([gallery, distractors]))
    for size, own in zip(sizes, found, strict=True):
        right, scores = np.pad(positives, ((0, 0), (0, size - 15))), unit(queries) @ everything[:size].T
        assert (own.ranks == best_ranks(scores, right)).all()
        assert (own.nearest == np.argsort(-scores, axis=1)[:, :10]).all()
    measured = among_distractors(queries, gallery, positives, distractors, sizes, FEW)
    for engine in ("KNN", "ERS"):
        assert list(measured[engine]) == list(sizes)
        recalls = [measured[engine][size][0].value for size in sizes]
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[-1] == pytest.approx((found[-1].ranks == 1).mean())
    assert measured["ERS"][100][-1].name == "recall@10"
    assert measured["ERS"][100][-1].value == 1.0


@pytest.mark.parametrize("sizes", [(), (14,), (20, 15), (15, 15), (15, 101)])
def test_sizes_that_cannot_be_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected ascending sizes from 15 to 100"):
        ranks_among(np.ones((15, 2)), np.ones((15, 2)), np.eye(15, dtype=bool), np.ones((85, 2)), sizes)
