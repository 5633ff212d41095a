import numpy as np
import pytest
import torch

from experiments.data.batches import look_alikes
from experiments.data.corpus import unify
from experiments.evaluation.directions import rerank


def test_captions_with_one_normal_form_are_one_text() -> None:
    unique, texts_of = unify([["Pin Header 1x04", "a header"], ["pin header, 1×04"], ["A header", "2 pins"]])
    assert unique == ["Pin Header 1x04", "a header", "2 pins"]
    assert texts_of.tolist() == [[0, 1], [0, -1], [1, 2]]


def test_reranking_moves_only_the_candidates() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.9, 0.5, 0.1], [0.3, 0.2, 0.1]])
    right = np.array([[True, False, False], [True, False, False], [False, False, False]])
    assert rerank(scores, right, known=np.array([1, 2, 9])).tolist() == [3, 1, 9]


def test_a_query_without_a_right_candidate_ranks_behind_them() -> None:
    # the exact search tied wrong candidates with the right one; the index listed the wrong ones
    assert rerank(np.zeros((1, 3)), np.zeros((1, 3), bool), known=np.array([2])).tolist() == [4]


def test_look_alikes_are_wrong_and_nearest_first() -> None:
    similarity = torch.tensor(
        [[9.0, 8.0, 1.0, 3.0], [8.0, 9.0, 0.0, 0.0], [1.0, 0.0, 9.0, 5.0], [3, 0, 5, 9]]
    )
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    found = look_alikes(similarity, positives, 2)
    assert found[0].tolist() == [3, 2]
    assert found[3].tolist() == [2, 0]


@pytest.mark.parametrize("captions", [[["one"]], [["one", "One", "ONE!"]]])
def test_one_text_is_one_text(captions: list[list[str]]) -> None:
    unique, texts_of = unify(captions)
    assert unique == ["one"]
    assert texts_of.tolist() == [[0]]
