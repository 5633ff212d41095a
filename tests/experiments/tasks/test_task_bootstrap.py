"""Intervals of the tasks: what they cover, what is drawn together, and where there is nothing to draw."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, bootstrap

from experiments.tasks.measured import Bootstrap, measure, measure_means

MANY = Bootstrap(resamples=4_000, seed=3)


def test_an_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=80)
    (ours,) = measure_means({"mean": values}, MANY)
    theirs = bootstrap((values,), np.mean, n_resamples=4_000, method="percentile", rng=1).confidence_interval
    assert (ours.name, ours.value, ours.count) == ("mean", pytest.approx(values.mean()), 80)
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_draws_are_the_same_again_and_others_with_another_seed() -> None:
    values = {"mean": np.arange(50.0) ** 2}
    assert measure_means(values, Bootstrap(200, 1)) == measure_means(values, Bootstrap(200, 1))
    assert measure_means(values, Bootstrap(200, 1)) != measure_means(values, Bootstrap(200, 2))


def test_all_resamples_are_drawn_when_they_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.tasks.measured.CHUNK", 50)
    pieces = list(Bootstrap(33).weights(20))
    assert [len(piece) for piece in pieces] == [2] * 16 + [1]
    assert (np.concatenate(pieces).sum(axis=1) == 20).all()


def test_rows_of_one_cluster_are_drawn_together() -> None:
    """Ten equal rows of each of 12 shapes say no more than one row each."""
    own = np.random.default_rng(5).random(12)
    (alone,) = measure_means({"mean": own}, MANY)
    (together,) = measure_means({"mean": np.repeat(own, 10)}, MANY, clusters=np.repeat(np.arange(12), 10))
    (apart,) = measure_means({"mean": np.repeat(own, 10)}, MANY)
    assert (together.low, together.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


@pytest.mark.parametrize("count", [1, 2, 6, 40])
def test_a_share_of_all_or_none_has_the_exact_interval(count: int) -> None:
    none, every = measure_means({"none": np.zeros(count), "all": np.ones(count)})
    if count == 1:
        expected: tuple[object, object] = (0.0, pytest.approx(0.975))
    else:
        expected = (0.0, pytest.approx(beta.ppf(0.975, 1, count)))
    assert (none.low, none.high) == expected
    assert (every.low, every.high) == (pytest.approx(beta.ppf(0.025, count, 1)), 1.0)


def test_one_shape_has_no_interval() -> None:
    (mean,) = measure_means({"mean": np.array([0.3, 0.5])}, clusters=np.array([4, 4]))
    assert (mean.value, mean.low, mean.high, mean.count) == (pytest.approx(0.4), None, None, 2)


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(ValueError, match="R@1: nothing to measure"):
        measure(["R@1"], lambda weights: weights, 0)
    with pytest.raises(ValueError, match="2 clusters of 3 rows"):
        measure_means({"mean": np.ones(3)}, clusters=np.array([0, 1]))
