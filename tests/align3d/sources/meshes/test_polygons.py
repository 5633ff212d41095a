"""Polygons of every shape: the triangles fill them and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align3d.errors import RejectedItem
from align3d.sources.meshes import polygons
from align3d.sources.meshes.polygons import triangulate

ELL = [[4, 1], [1, 1], [1, 4], [0, 4], [0, 0], [4, 0]]
NOTCH = [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]
ARROW = [[0, 0], [4, 0], [1, 1], [0, 4]]
KEYHOLE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [1, 1], [1, 3], [3, 3], [3, 1], [1, 1]]
SPIRAL = [[0, 0], [5, 0], [5, 5], [0, 5], [0, 2], [3, 2], [3, 3], [1, 3], [1, 4], [4, 4], [4, 1], [0, 1]]
AREAS = {"ell": (ELL, 7.0), "notch": (NOTCH, 10.0), "arrow": (ARROW, 4.0), "keyhole": (KEYHOLE, 12.0)}
AREAS |= {
    "spiral": (SPIRAL, 17.0),
    "straight corners": ([[0, 0], [1, 0], [2, 0], [2, 2], [0, 2], [0, 1]], 4.0),
}


def tilted(outline: list[list[float]], start: int = 0) -> np.ndarray:
    """The outline from another first corner, in an oblique plane far from the origin: f64[N, 3]."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    flat = np.roll(np.array(outline, dtype=float), -start, axis=0)
    return np.column_stack([flat, np.zeros(len(flat))]) @ turn + 1000.0


def area(points: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (points[triangles[:, column]] for column in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2.0)


@pytest.mark.parametrize("name", AREAS)
def test_the_area_is_the_polygons_from_every_first_corner(name: str) -> None:
    outline, expected = AREAS[name]
    for start in range(len(outline)):
        for turned in (outline, outline[::-1]):
            points = tilted(turned, start)
            cut = triangulate(points, np.array([len(outline)]))
            assert area(points, cut.corners) == pytest.approx(expected), (start, cut)
            assert cut.crossing == 0


def test_many_polygons_keep_their_order_and_owner() -> None:
    shapes = [ELL, [[0, 0], [1, 0], [0, 1]], ARROW, [[0, 0], [1, 0]], [[0, 0], [1, 0], [1, 1], [0, 1]], NOTCH]
    points = np.concatenate([tilted(shape) for shape in shapes])
    sizes = np.array([len(shape) for shape in shapes])
    cut = triangulate(points, sizes)
    assert (np.diff(cut.polygon) >= 0).all()
    assert np.bincount(cut.polygon, minlength=6).tolist() == [4, 1, 2, 0, 2, 3]
    owner = np.repeat(np.arange(6), sizes)
    assert (owner[cut.corners] == cut.polygon[:, None]).all()
    expected = [7.0, 0.5, 4.0, 0.0, 1.0, 10.0]
    assert [area(points, cut.corners[cut.polygon == k]) for k in range(6)] == pytest.approx(expected)


def test_convex_polygons_are_fans_about_their_first_corner() -> None:
    angle = np.arange(7) / 7 * 2 * np.pi
    points = np.column_stack([np.cos(angle), np.sin(angle), 0.02 * np.cos(3 * angle)])  # nearly planar
    assert triangulate(points, np.array([7])).corners.tolist() == [[0, k, k + 1] for k in range(1, 6)]


def test_a_concave_polygon_that_is_nearly_planar_is_cut_inside_its_outline() -> None:
    points = np.column_stack([np.array(ELL, float), 0.01 * np.arange(6)])
    cut = triangulate(points, np.array([6]))
    assert area(points, cut.corners) == pytest.approx(7.0, rel=1e-3)


def test_polygons_that_cross_themselves_are_counted() -> None:
    bow_tie = [[0, 0], [1, 1], [1, 0], [0, 1]]
    star = [[np.cos(k * 0.8 * np.pi), np.sin(k * 0.8 * np.pi)] for k in range(5)]
    points = np.concatenate([tilted(bow_tie), tilted(star), tilted(ELL)])
    cut = triangulate(points, np.array([4, 5, 6]))
    assert cut.doubts == ["2 polygons cross themselves: filled by a guess"]
    assert triangulate(points[9:], np.array([6])).doubts == []


def test_polygons_without_area_are_no_trouble() -> None:
    points = np.zeros((15, 3))
    points[5:10, 0] = [0, 1, 2, 1, 0]
    points[10:] = np.nan
    assert triangulate(points, np.array([5, 5, 5])).crossing == 0


def test_a_polygon_too_large_to_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "MOST_CORNERS", 5)
    with pytest.raises(RejectedItem, match="a polygon of 6 corners, expected at most 5"):
        triangulate(tilted(ELL), np.array([6]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.2, 1.0), min_size=3, max_size=30), st.integers(0, 29))
def test_star_shaped_polygons_are_filled_exactly(radii: list[float], start: int) -> None:
    angle = np.arange(len(radii)) / len(radii) * 2 * np.pi
    outline = np.column_stack([np.cos(angle), np.sin(angle)]) * np.array(radii)[:, None]
    following = np.roll(outline, -1, axis=0)
    expected = float((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum() / 2.0)
    points = tilted(outline.tolist(), start % len(radii))
    cut = triangulate(points, np.array([len(radii)]))
    assert area(points, cut.corners) == pytest.approx(expected, rel=1e-6)
