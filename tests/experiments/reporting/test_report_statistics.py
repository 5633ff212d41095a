"""The estimators, against ones written another way, and against rliable where that is installed."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from experiments.reporting.learning_curves import arm_curve, on_grid
from experiments.reporting.statistics import (
    estimate,
    estimate_improvement,
    improvement,
    interquartile_mean,
    mean,
    resample,
)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def each_column_by_itself(columns: int) -> list[list[int]]:
    return [[column] for column in range(columns)]


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_interquartile_mean_is_the_trimmed_mean(runs: int, columns: int) -> None:
    scores = draws(runs).normal(size=(runs, columns))
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))
    stack = np.stack([scores, 2 * scores])
    assert interquartile_mean(stack) == pytest.approx(
        [interquartile_mean(scores), 2 * interquartile_mean(scores)]
    )


def test_improvement_is_the_mann_whitney_statistic() -> None:
    ours, theirs = draws(1).integers(0, 4, (5, 2)) / 4, draws(2).integers(0, 4, (7, 2)) / 4  # with ties
    expected = np.mean([mannwhitneyu(ours[:, k], theirs[:, k]).statistic / 35 for k in range(2)])
    assert improvement(ours, theirs) == pytest.approx(expected)
    assert improvement(ours, ours) == 0.5
    assert improvement(ours + 2, theirs) == 1.0


def test_the_interval_is_that_of_all_resamples() -> None:
    """With three runs the bootstrap has 27 outcomes, so its quantiles are known exactly."""
    scores = np.array([[1.0], [2.0], [4.0]])
    outcomes = [np.mean(rows) for rows in itertools.product([1.0, 2.0, 4.0], repeat=3)]
    low, high = np.quantile(outcomes, [0.025, 0.975], method="inverted_cdf")
    found = estimate(scores, mean, draws())
    assert found.value == pytest.approx(7 / 3)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_columns_of_a_stratum_are_drawn_together() -> None:
    scores = np.stack([np.arange(6.0), 10 + np.arange(6.0)], axis=1)
    together = resample(scores, 50, draws())
    assert (together[..., 1] - together[..., 0] == 10).all()
    apart = resample(scores, 50, draws(), each_column_by_itself(2))
    assert (apart[..., 1] - apart[..., 0] != 10).any()
    assert set(apart[..., 1].ravel()) == set(scores[:, 1])


def test_to_draw_dependent_columns_apart_would_feign_certainty() -> None:
    column = draws(3).normal(size=(8, 1))
    scores = np.repeat(column, 2, axis=1)  # the second tells nothing new
    honest, feigned = (estimate(scores, mean, draws(), strata=s) for s in (None, each_column_by_itself(2)))
    alone = estimate(column, mean, draws())
    assert honest.low is not None
    assert honest.high is not None
    assert feigned.low is not None
    assert feigned.high is not None
    assert (honest.low, honest.high) == pytest.approx((alone.low, alone.high))
    assert feigned.high - feigned.low < 0.8 * (honest.high - honest.low)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = draws(5)
    trials = 300
    hits = sum(
        estimate(generator.normal(size=(20, 1)), mean, generator, repetitions=500).includes(0.0)
        for _ in range(trials)
    )
    assert abs(hits / trials - 0.95) < 0.05


def test_one_run_has_no_interval() -> None:
    found = estimate(np.array([[0.5, 0.7]]), interquartile_mean, draws())
    assert found.value == pytest.approx(0.6)
    assert found.low is None
    assert not found.certain
    assert not estimate_improvement(np.ones((1, 1)), np.zeros((3, 1)), draws()).certain


def test_nothing_is_drawn_from_the_global_state() -> None:
    scores = draws().normal(size=(5, 2))
    first = estimate(scores, interquartile_mean, draws(7))
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr, index]  # noqa: NPY002
    assert estimate(scores, interquartile_mean, draws(7)) == first
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]  # noqa: NPY002


def test_equal_to_rliable() -> None:
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    ours, theirs = draws(8).normal(0.3, 1, (10, 3)), draws(9).normal(0, 1, (10, 3))
    strata = each_column_by_itself(3)
    values, intervals = library.get_interval_estimates(
        {"x": ours},
        lambda x: np.array([metrics.aggregate_iqm(x)]),
        reps=4000,
        random_state=np.random.RandomState(1),
    )
    found = estimate(ours, interquartile_mean, draws(), strata=strata)
    assert found.value == pytest.approx(values["x"][0])
    assert (found.low, found.high) == pytest.approx(intervals["x"].ravel(), abs=0.03)
    values, intervals = library.get_interval_estimates(
        {"x,y": (ours, theirs)},
        metrics.probability_of_improvement,
        reps=1000,
        random_state=np.random.RandomState(2),
    )
    found = estimate_improvement(ours, theirs, draws(), strata=strata)
    assert found.value == pytest.approx(float(values["x,y"]))
    assert (found.low, found.high) == pytest.approx(intervals["x,y"].ravel(), abs=0.03)


def test_a_curve_joins_runs_where_all_have_values() -> None:
    runs = [[(0.0, 0.0), (100.0, 1.0)], [(50.0, 1.0), (150.0, 2.0)], []]
    found = arm_curve(runs, draws())
    assert found is not None
    assert found.runs == 2
    assert found.evaluations == [50.0, 100.0]
    assert found.values == pytest.approx([0.75, 1.25])
    assert found.low is not None
    assert found.low == pytest.approx([0.5, 1.0])
    assert arm_curve([[(0.0, 1.0)], [(9.0, 1.0)]], draws()) is None
    assert arm_curve([[]], draws()) is None


def test_many_points_are_averaged_in_their_cell() -> None:
    points = [(float(place), math.cos(place * math.pi)) for place in range(100)]  # 1, -1, 1, -1, ...
    values = on_grid(points, np.linspace(0, 99, 5))
    assert abs(values).max() < 0.1
