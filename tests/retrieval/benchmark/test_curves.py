"""Engines are judged by curves: what is counted, which points stay, what is read between them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from retrieval import FlatIndex
from retrieval.benchmark.curves import (
    Point,
    Speed,
    Task,
    as_json,
    batched,
    build,
    curve,
    frontier,
    measure,
    overlap,
    quality,
    rate_at,
    settings_of,
    single,
    typical,
)
from retrieval.benchmark.synthetic import Mixture, queries_of, vectors_of
from retrieval.engines import make_index, search_params_of
from retrieval.engines.base import PROBES, REFINES

RECIPE = Mixture(width=32, coarse=8, fine=8, rank=12)
COUNT = 3_000


def point(recall: float, rate: float, alone: float | None = None) -> Point:
    return Point({}, recall, {}, Speed(rate, alone or rate, 1 / rate, 1 / rate))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.concatenate(list(vectors_of(RECIPE, COUNT)))


@pytest.fixture(scope="module")
def task(vectors: np.ndarray) -> Task:
    asked = queries_of(RECIPE, COUNT, 80)
    exact = FlatIndex()
    exact.build(vectors, np.arange(COUNT))
    found, _ = exact.search(asked.vectors, 10)
    return Task(asked.vectors, found, list(asked.targets[:, None]))


def test_overlap_counts_what_is_shared_in_any_order():
    assert overlap(np.array([[3, 1, 9]]), np.array([[1, 2, 3]])) == pytest.approx(2 / 3)
    assert overlap(np.array([[1, -1, -1]]), np.array([[1, 2, -1]])) == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="one shape"):
        overlap(np.array([[1]]), np.array([[1, 2]]))


def test_quality_has_every_measure():
    found = np.array([[4, 5, 6], [7, 8, 9]])
    measures = quality(found, [np.array([4]), np.array([8])])
    assert measures["recall@1"] == 0.5
    assert measures["recall@5"] == 1.0
    assert measures["mrr@10"] == 0.75
    assert measures["ndcg@5"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_exact_search_is_one_point_without_search_params(vectors, task):
    engine = make_index("flat")
    cost = build(engine, vectors, np.arange(COUNT))
    (only,) = curve(engine, task)
    assert only.recall == 1.0
    assert only.search_params == {}
    assert cost.resident_bytes == vectors.nbytes
    assert cost.disk_bytes == 0
    assert cost.build_seconds > 0


def test_a_curve_climbs_with_the_parameter_and_ends_when_there_is_nothing_to_gain(vectors, task):
    engine = make_index("ivf", codes="flat")
    build(engine, vectors, np.arange(COUNT))
    points = curve(engine, task)
    recalls = [p.recall for p in points]
    assert recalls == sorted(recalls)
    assert recalls[0] < 0.9 < 0.998 <= recalls[-1]
    assert max(recalls[:-1]) < 0.998
    assert [p.search_params["nprobe"] for p in points] == list(PROBES[: len(points)])


def test_settings_turn_the_first_parameter_fastest():
    settings = settings_of(search_params_of(make_index("ivfpq")))
    assert len(settings) == len(PROBES) * len(REFINES)
    assert [s["nprobe"] for s in settings[: len(PROBES)]] == list(PROBES)
    assert {s["refine"] for s in settings[: len(PROBES)]} == {REFINES[0]}


def test_only_what_nothing_beats_is_on_the_frontier():
    slow, worse, fast = point(0.99, 100), point(0.95, 90), point(0.90, 500)
    assert frontier([worse, fast, slow]) == [fast, slow]
    tied = point(0.99, 80)
    assert frontier([tied, slow]) == [slow]


def test_rates_are_read_between_points_on_a_logarithmic_scale():
    points = [point(0.90, 1000), point(1.00, 10)]
    assert rate_at(points, 0.95) == pytest.approx(100)
    assert rate_at(points, 0.5) == pytest.approx(1000)
    assert rate_at(points, 1.0) == pytest.approx(10)
    assert rate_at([point(0.9, 1000)], 0.95) is None
    assert rate_at([], 0.95) is None


def test_rates_one_by_one_have_a_frontier_of_their_own():
    points = [point(0.95, 1000, 10), point(0.99, 500, 50)]
    assert rate_at(points, 0.95, batched) == pytest.approx(1000)
    assert rate_at(points, 0.95, single) == pytest.approx(50)
    with pytest.raises(ValueError, match="measure it first"):
        frontier([Point({}, 0.5, {}), Point({}, 0.6, {})])


def test_a_measurement_has_every_figure(vectors, task):
    engine = make_index("flat")
    engine.build(vectors, np.arange(COUNT))
    speed = measure(engine, task.queries[:20], 10)
    assert min(speed.batched, speed.single, speed.p50) > 0
    assert speed.p50 <= speed.p99
    one = Point({}, 1.0, {"mrr@10": 0.5}, speed)
    assert json.loads(json.dumps(as_json(one)))["speed"]["single"] == speed.single


def test_the_typical_speed_is_the_median_of_each_figure():
    speeds = [Speed(1, 9, 1, 1), Speed(2, 8, 1, 1), Speed(100, 7, 1, 1)]
    assert typical(speeds) == Speed(2, 8, 1, 1)
    with pytest.raises(ValueError, match="no measurements"):
        typical([])


def test_a_task_that_does_not_fit_together_is_refused(task):
    with pytest.raises(ValueError, match="sets of right"):
        Task(task.queries, task.exact, task.right[:-1])


def test_what_is_not_found_counts_nothing_however_short_the_list() -> None:
    found = np.array([[3, 1, 2], [4, 5, -1], [7, 8, 9]])
    right = [np.array([1]), np.array([6]), np.array([7, 9])]
    short = quality(found, right)
    assert short["recall@1"] == pytest.approx(1 / 3)
    assert short["recall@5"] == short["recall@10"] == pytest.approx(2 / 3)
    assert short["mrr@10"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    late = np.arange(100, 112)[None]
    assert quality(late, [np.array([111])])["mrr@10"] == pytest.approx(0)
    assert quality(late, [np.array([109])])["mrr@10"] == pytest.approx(0.1)
