import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from retrieval import mean_reciprocal_rank, ranks_from_ids, ranks_from_scores, recall_at_k, summarize
from retrieval.metrics import ndcg_at_k


def oracle_rank(scores: list[float], positives: list[bool]) -> int:
    """Sorts with the wrong items first among equals, then looks for the first right one."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], positives[i]))
    return next((place + 1 for place, i in enumerate(order) if positives[i]), len(scores) + 1)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=12))
def test_ranks_equal_those_of_a_pessimistic_sort(items: list[tuple[int, bool]]) -> None:
    scores, positives = [float(s) for s, _ in items], [p for _, p in items]
    rank = ranks_from_scores(np.array([scores]), np.array([positives]))[0]
    assert rank == oracle_rank(scores, positives)


def test_reciprocal_rank_with_one_positive_is_ranking_precision() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 20))
    positives = np.eye(20, dtype=bool)[rng.integers(0, 20, 50)]
    ours = mean_reciprocal_rank(ranks_from_scores(scores, positives))
    assert ours == pytest.approx(label_ranking_average_precision_score(positives, scores))


def test_a_constant_score_earns_nothing() -> None:
    ranks = ranks_from_scores(np.zeros((4, 10)), np.eye(10, dtype=bool)[:4])
    assert ranks.tolist() == [10] * 4
    assert recall_at_k(ranks, 5) == 0.0


def test_any_of_several_right_answers_counts() -> None:
    ranks = ranks_from_scores(np.array([[0.9, 0.5, 0.7]]), np.array([[False, True, True]]))
    assert ranks.tolist() == [2]


def test_ranks_from_ids_agree_with_scores() -> None:
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(30.0), (20, 1)), axis=1)
    positives = rng.random((20, 30)) < 0.1
    ids = np.argsort(-scores, axis=1)
    right = [np.flatnonzero(row) for row in positives]
    np.testing.assert_array_equal(ranks_from_ids(ids, right), ranks_from_scores(scores, positives))


def test_padding_is_no_answer() -> None:
    assert ranks_from_ids(np.array([[3, -1, -1]]), [np.array([-1, 5])]).tolist() == [4]


def test_summary_names() -> None:
    assert summarize(np.array([1, 2, 20])) == pytest.approx(
        {"recall@1": 1 / 3, "recall@5": 2 / 3, "recall@10": 2 / 3, "mrr": (1 + 0.5 + 0.05) / 3}
    )


def test_nan_scores_and_empty_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="diverged"):
        ranks_from_scores(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
    with pytest.raises(ValueError, match="split is empty"):
        recall_at_k(np.array([], dtype=np.int64), 1)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_gain_is_that_of_sklearn(k: int) -> None:
    rng = np.random.default_rng(2)
    scores, relevant = rng.normal(size=(60, 30)), rng.random((60, 30)) < 0.2
    relevant[:, 0] |= ~relevant.any(1)
    ids = np.argsort(-scores, axis=1)
    ours = ndcg_at_k(ids, [np.flatnonzero(row) for row in relevant], k)
    assert ours == pytest.approx(ndcg_score(relevant, scores, k=k))


def test_gain_of_known_lists() -> None:
    right = [np.array([7, 9])]
    assert ndcg_at_k(np.array([[7, 9, 1]]), right, 5) == 1.0
    assert ndcg_at_k(np.array([[1, 7, -1]]), right, 5) == pytest.approx(
        (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    )
    assert ndcg_at_k(np.array([[-1, -1]]), [np.array([-1])], 5) == 0.0
    assert ndcg_at_k(np.array([[3, 4]]), [np.array([], np.int64)], 5) == 0.0
    with pytest.raises(ValueError, match="k=0"):
        ndcg_at_k(np.array([[1]]), [np.array([1])], 0)
    with pytest.raises(ValueError, match="sets of right answers"):
        ndcg_at_k(np.array([[1]]), [], 1)
