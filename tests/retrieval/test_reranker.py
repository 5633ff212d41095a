"""Re-ranking: the order that comes out, and combinations of re-rankers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.reranker import Cascade, Similarity, Sum, Threaded, Timed, rerank

IDS = np.array([[4, 2, 7, -1], [1, 3, 0, 9]])
ROWS = np.array([0, 1])


class Table:
    """A re-ranker that looks scores up: ``[Q, N]``."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.seen = np.asarray(scores, np.float32), []

    def __call__(self, query_rows: np.ndarray, candidate_ids: np.ndarray) -> np.ndarray:
        self.seen.append(candidate_ids)
        return self.scores[query_rows[:, None], candidate_ids]


def test_the_best_scores_stand_first_and_equal_ones_by_id():
    table = Table([[0, 0, 5, 0, 5, 0, 0, 6, 0, 9], [1, 1, 0, 1, 0, 0, 0, 0, 0, 2]])
    ids, scores = rerank(ROWS, IDS, table, 3)
    assert ids.tolist() == [[7, 2, 4], [9, 0, 1]]
    assert scores.tolist() == [[6, 5, 5], [2, 1, 1]]


def test_what_is_missing_stands_last_and_fills_up():
    ids, scores = rerank(ROWS, IDS, lambda rows, c: np.full(c.shape, -np.inf), 6)
    assert ids[0].tolist() == [2, 4, 7, -1, -1, -1]
    assert np.isneginf(scores).all()


@pytest.mark.parametrize(
    ("reranker", "message"),
    [
        (lambda rows, c: np.zeros((2, 3)), r"scores \(2, 3\) for candidates \(2, 4\)"),
        (lambda rows, c: np.full(c.shape, np.nan), "NaN"),
    ],
)
def test_a_broken_reranker_is_named(reranker, message):
    with pytest.raises(ValueError, match=message):
        rerank(ROWS, IDS, reranker, 2)


def test_similarity_is_the_scaled_product():
    draw = np.random.default_rng(0)
    queries, vectors = draw.standard_normal((3, 8)), draw.standard_normal((10, 8))
    found = Similarity(queries, vectors, 2.0)(np.array([2, 0]), IDS)
    expected = 2 * (queries[[2, 0]] @ vectors.T)
    assert found[IDS >= 0] == pytest.approx(np.take_along_axis(expected, IDS, 1)[IDS >= 0], rel=1e-5)
    with pytest.raises(ValueError, match="candidate 10"):
        Similarity(queries, vectors)(np.array([0]), np.array([[10]]))


def test_a_sum_adds():
    one, two = Table(np.ones((2, 10))), Table(np.arange(20).reshape(2, 10))
    assert np.array_equal(Sum(one, two)(ROWS, IDS), one(ROWS, IDS) + two(ROWS, IDS))


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_cascade_asks_the_full_one_for_the_best_few_and_keeps_them_first(keep, seed):
    draw = np.random.default_rng(seed)
    light, full = Table(draw.standard_normal((2, 10))), Table(draw.standard_normal((2, 10)))
    ids, _ = rerank(ROWS, IDS, Cascade(light, full, keep), 4)
    by_light, _ = rerank(ROWS, IDS, light, 4)
    for query in range(2):
        there = [int(i) for i in by_light[query] if i >= 0]
        first, rest = there[:keep], there[keep:]
        expected = sorted(first, key=lambda i: -full.scores[query, i]) + rest
        assert ids[query].tolist() == expected + [-1] * (4 - len(expected))
    assert full.seen[0].shape == (2, min(keep, 4))


def test_threads_change_nothing():
    table = Table(np.random.default_rng(0).standard_normal((7, 10)))
    rows, ids = np.arange(7), np.random.default_rng(1).integers(0, 10, (7, 4))
    assert np.array_equal(Threaded(table, 3)(rows, ids), table(rows, ids))


def test_time_is_counted_by_query():
    timed = Timed(Table(np.zeros((2, 10))))
    assert np.isnan(timed.milliseconds)
    timed(ROWS, IDS)
    assert timed.queries == 2
    assert timed.milliseconds >= 0
    assert timed.cpu_milliseconds >= 0
