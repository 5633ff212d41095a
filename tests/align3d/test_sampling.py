"""Sampling: fair, repeatable, and refusing what has no surface."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from align3d.errors import RejectedItem
from align3d.hashing import item_generator
from align3d.sampling import normalize, resample_cloud, rotate_up, sample_surface

TWO = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 1], [3, 0, 1], [0, 3, 1]]], dtype=np.float64)


def test_triangles_get_points_by_their_area() -> None:
    _, face, _ = sample_surface(TWO, 1000, item_generator(0, "a"))
    assert abs(int((face == 0).sum()) - 100) <= 1  # areas 1 : 9; stratified, so nearly exact


def test_points_are_uniform_on_a_triangle() -> None:
    points, _, _ = sample_surface(TWO[:1], 4000, item_generator(0, "a"))
    # In the right triangle, x has the distribution 1 - (1 - x)^2; so has y, and so has 1 - x - y.
    for values in (points[:, 0], points[:, 1], 1.0 - points[:, 0] - points[:, 1]):
        assert stats.kstest(values, lambda x: 1.0 - (1.0 - x) ** 2).pvalue > 1e-3


def test_barycentric_weights_give_the_points() -> None:
    points, face, weights = sample_surface(TWO, 200, item_generator(0, "a"))
    np.testing.assert_allclose(np.einsum("pk,pkc->pc", weights, TWO[face]), points, atol=1e-12)
    assert weights.min() >= 0.0


def test_same_item_and_seed_same_points() -> None:
    first = sample_surface(TWO, 50, item_generator(3, "a"))[0]
    np.testing.assert_array_equal(first, sample_surface(TWO, 50, item_generator(3, "a"))[0])
    assert not np.array_equal(first, sample_surface(TWO, 50, item_generator(3, "b"))[0])
    assert not np.array_equal(first, sample_surface(TWO, 50, item_generator(4, "a"))[0])


@pytest.mark.parametrize(
    ("triangles", "reason"),
    [
        (np.zeros((0, 3, 3)), "without faces"),
        (np.full((2, 3, 3), np.nan), "NaN"),
        (np.ones((2, 3, 3)), "zero area"),
        (np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2]]], dtype=np.float64), "zero area"),
    ],
)
def test_no_surface_is_rejected(triangles: np.ndarray, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        sample_surface(triangles, 10, item_generator(0, "a"))


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 200), st.integers(0, 5))
def test_resampling_repeats_evenly(available: int, count: int, seed: int) -> None:
    chosen = resample_cloud(available, count, np.random.default_rng(seed))
    assert len(chosen) == count
    repeats = np.bincount(chosen, minlength=available)
    assert repeats.max() - repeats.min() <= 1


def test_empty_cloud_is_rejected() -> None:
    with pytest.raises(RejectedItem, match="without points"):
        resample_cloud(0, 5, np.random.default_rng(0))


def test_normalized_points_are_centered_in_the_unit_sphere() -> None:
    points = normalize(np.random.default_rng(0).normal(5.0, 3.0, (500, 3)) * [1, 2, 3])
    assert points.dtype == np.float16
    assert np.linalg.norm(points.astype(np.float64), axis=1).max() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(points.astype(np.float64).mean(axis=0), 0.0, atol=1e-3)


def test_coinciding_points_are_rejected() -> None:
    with pytest.raises(RejectedItem, match="coincide"):
        normalize(np.ones((10, 3)))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_up_becomes_z_without_a_mirror_image(axis: str) -> None:
    turned = rotate_up(np.eye(3), axis)
    np.testing.assert_allclose(turned["xyz".index(axis)], [0, 0, 1])
    assert np.linalg.det(turned) == pytest.approx(1.0)
