"""Memory beside a re-ranker: hubness of its own scores, computed once a candidate, and both strengths."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import KnownPairs, rerank
from retrieval.memory.reranking import MemoryTerms, ScoreHubness
from retrieval.reranker import Similarity, Sum

CANDIDATES, PAIRS, WIDTH = 300, 120, 8


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class Asked:
    """Scores of candidates with known queries, and the pairs that were asked for."""

    def __init__(self) -> None:
        self.table = (8 * np.random.default_rng(3).normal(size=(CANDIDATES, PAIRS))).astype(np.float32)
        self.pairs: list[tuple[int, int]] = []

    def __call__(self, query_rows: np.ndarray, candidate_ids: np.ndarray) -> np.ndarray:
        for row, ids in zip(query_rows, candidate_ids, strict=True):
            self.pairs += [(int(row), int(one)) for one in ids if one >= 0]
        return self.table[query_rows[:, None], candidate_ids]


def plain(
    asked: Asked, vectors: np.ndarray, keys: np.ndarray, row: int, nearest: int, own: list[int]
) -> float:
    order = [place for place in np.argsort(-(keys @ vectors[row])) if place not in own][:nearest]
    return float(np.log(np.exp(0.5 * asked.table[row, order].astype(float)).mean()) / 0.5) if order else 0.0


@pytest.mark.parametrize("nearest", [1, 32, 1000])
def test_hubness_is_that_of_the_scores_with_the_nearest_known_queries(nearest: int) -> None:
    asked, vectors = Asked(), unit(0, CANDIDATES)
    pairs = KnownPairs(unit(1, PAIRS), unit(2, PAIRS))
    own = np.full((CANDIDATES, 2), -1)
    own[7], own[8, 0] = (3, 50), int((pairs.keys @ vectors[8]).argmax())
    hubness = ScoreHubness(asked, vectors, pairs, leave_out=own, nearest=nearest)
    ids = np.array([[7, 8, -1], [9, 299, 7]])
    found = hubness(ids)
    for place in zip(*np.nonzero(ids >= 0), strict=True):
        row = int(ids[place])
        left_out = [one for one in own[row].tolist() if one >= 0]
        wanted = plain(asked, vectors, pairs.keys, row, nearest, left_out)
        assert found[place] == pytest.approx(wanted, abs=1e-4)
    assert found[0, 2] == 0
    assert len(asked.pairs) == len(set(asked.pairs)) <= 4 * min(nearest, PAIRS)
    assert hubness.computed == 4
    many = np.arange(CANDIDATES)[None]
    np.testing.assert_array_equal(hubness(many)[0, ids[0, :2]], found[0, :2])
    assert len(asked.pairs) == len(set(asked.pairs))  # what was asked for once is kept


def test_where_no_pair_counts_there_is_no_hubness() -> None:
    vectors = unit(0, 5)
    nothing = ScoreHubness(Asked(), vectors, KnownPairs.empty(WIDTH))
    assert not nothing(np.arange(5)[None]).any()
    alone = ScoreHubness(
        Asked(),
        vectors,
        KnownPairs(unit(1, 1), unit(2, 1)),
        leave_out=np.array([[0], [-1], [-1], [-1], [-1]]),
    )
    found = alone(np.arange(5)[None])[0]
    assert found[0] == 0
    assert (found[1:] != 0).all()


def test_terms_are_added_to_a_rerankers_scores_and_strengths_move() -> None:
    asked, vectors, queries = Asked(), unit(0, CANDIDATES), unit(5, 20)
    pairs = KnownPairs(unit(1, PAIRS), unit(2, PAIRS))
    recalled = pairs.recall(queries)
    hubness = ScoreHubness(asked, vectors, pairs)
    terms = MemoryTerms(recalled, vectors, hubness, scale=10)
    base = Similarity(queries, vectors, 10)
    rows, ids = np.arange(20), np.random.default_rng(0).integers(0, CANDIDATES, (20, 30))
    for recall, weight in ((0, 0), (0.5, 0), (0, 0.1), (1.5, 0.2)):
        terms.recall, terms.hubness = recall, weight
        scores = 10 * (queries + recall * recalled) @ vectors.T - weight * hubness(
            np.arange(CANDIDATES)[None]
        )
        wanted = np.take_along_axis(scores, ids, 1)
        found = Sum(base, terms)(rows, ids)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        best, _ = rerank(rows, ids, Sum(base, terms), 1)
        np.testing.assert_allclose(np.take_along_axis(scores, best, 1)[:, 0], wanted.max(axis=1), atol=1e-4)
    lazy = ScoreHubness(asked, vectors, pairs)
    MemoryTerms(recalled, vectors, lazy, hubness=0)(rows, ids)
    assert lazy.computed == 0


def test_what_does_not_fit_is_refused() -> None:
    vectors, pairs = unit(0, 5), KnownPairs(unit(1, 3), unit(2, 3))
    with pytest.raises(ValueError, match="leave_out"):
        ScoreHubness(Asked(), vectors, pairs, leave_out=np.zeros((4, 1), np.int64))
    with pytest.raises(ValueError, match="nearest=0"):
        ScoreHubness(Asked(), vectors, pairs, nearest=0)
    with pytest.raises(ValueError, match=r"vectors of width 3"):
        ScoreHubness(Asked(), vectors[:, :3], pairs)
    with pytest.raises(ValueError, match="recall=-1"):
        MemoryTerms(vectors, vectors, ScoreHubness(Asked(), vectors, pairs), recall=-1)
