"""What each term of the descent's score gives, on a stream in which few shapes are asked for often (Zipf)."""

from dataclasses import replace

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.benchmark.synthetic import MIXTURES, stream_of, vectors_of

COUNT, ASKED, STREAM = 6000, 200, 1200
RECIPE = replace(MIXTURES["harder"], width=64)


@pytest.fixture(scope="module")
def found_with() -> dict[tuple[float, float], tuple[float, float]]:
    """For each (w, c): the share of a later stream whose target is among 10, before and after learning."""
    vectors = np.concatenate(list(vectors_of(RECIPE, COUNT)))
    taught, asked = (stream_of(RECIPE, COUNT, targets=ASKED, length=STREAM, part=part) for part in (1, 2))

    def share(index: ErsIndex) -> float:
        return float((index.search(asked.vectors, 10)[0] == asked.targets[:, None]).any(1).mean())

    found = {}
    for weight, exploration in [(0.0, 0.0), (0.3, 0.0), (0.0, 0.03)]:
        index = ErsIndex(beam=2, refine=100, success_weight=weight, exploration=exploration)
        index.build(vectors, np.arange(COUNT))
        before = share(index)
        index.learn()
        for query, answer in zip(taught.vectors, taught.targets.tolist(), strict=True):
            index.feedback(query, answer)
        index.freeze()
        found[weight, exploration] = before, share(index)
    return found


def test_without_weights_feedback_changes_nothing(found_with: dict) -> None:
    before, after = found_with[0.0, 0.0]
    assert before == after


def test_successes_raise_recall_at_an_equal_beam(found_with: dict) -> None:
    before, after = found_with[0.3, 0.0]
    assert before == found_with[0.0, 0.0][0]  # without history the prior is 0
    assert after > before + 0.04


def test_exploration_alone_teaches_no_answers(found_with: dict) -> None:
    assert found_with[0.0, 0.03][1] < found_with[0.3, 0.0][1]
