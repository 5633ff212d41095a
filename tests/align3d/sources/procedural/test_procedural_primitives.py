"""Primitives: exact areas, uniform density, tight bounds; the builder on top of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from align3d.sources.procedural import Builder
from align3d.sources.procedural import primitives as pr
from align3d.sources.procedural.builder import aim, circle, turn, turns
from align3d.sources.procedural.profiles import between, gaps, smooth

COUNT = 20_000


def surfaces() -> dict[str, pr.Primitive]:
    hexagon = pr.polygon(6, 0.5)
    return {
        "box": pr.box(1.0, 2.0, 3.0),
        "prism": pr.prism(hexagon, 0.7),
        "ring prism": pr.prism(hexagon, 0.7, hole=0.5 * hexagon),
        "pyramid": pr.prism(pr.rectangle(1, 1), 2.0, top_scale=0.0),
        "sector": pr.sector(1.0, 0.5, 40, 320, 0.3),
        "cylinder": pr.cylinder(0.5, 2.0),
        "frustum": pr.frustum(1.0, 0.3, 1.5),
        "tube": pr.tube(1.0, 0.6, 0.5),
        "annulus": pr.disc(1.0, 0.4),
        "dome": pr.dome(1.0, 1.0, segments=64),
        "sphere": pr.sphere(0.7),
        "ellipsoid": pr.Ellipsoid((1.0, 0.4, 0.2)),
        "torus": pr.Torus(1.0, 0.5),
        "sweep": pr.Sweep(pr.arc(1.0, 0, 180, segments=96), 0.4, (0, 1, 0), capped=True),
        "taper": pr.Sweep(np.linspace((0, 0, 0), (1, 1, 1), 5), np.linspace(0.3, 0.1, 5), (1, 0, 0)),
    }


SURFACES = surfaces()


def test_areas_are_the_textbook_ones():
    hexagon, ring = 1.5 * np.sqrt(3) * 0.5**2, 0.75
    expected = {
        "box": 22.0,
        "prism": 2 * hexagon + 6 * 0.5 * 0.7,
        "ring prism": 2 * ring * hexagon + 9 * 0.5 * 0.7,
        "pyramid": 1 + 4 * 0.5 * np.hypot(2, 0.5),
        "cylinder": 2 * np.pi * 0.5 * (0.5 + 2.0),
        "frustum": np.pi * (1 + 0.09 + 1.3 * np.hypot(0.7, 1.5)),
        "tube": 2 * np.pi * (1 - 0.36 + 1.6 * 0.5),
        "annulus": np.pi * (1 - 0.16),
        "dome": 2 * np.pi,
        "sphere": 4 * np.pi * 0.49,
        "torus": 4 * np.pi**2 * 0.5,
        "sweep": np.pi * 2 * np.pi * 0.4 + 2 * np.pi * 0.16,
        "taper": np.pi * 0.4 * np.hypot(np.sqrt(3), 0.2),
        "sector": 280 / 360 * (2 * np.pi * 0.75 + 2 * np.pi * 1.5 * 0.3) + 2 * 0.5 * 0.3,
    }
    for name, area in expected.items():
        assert SURFACES[name].area == pytest.approx(area, rel=6e-3), name  # round outlines have corners


def test_ellipsoid_area_agrees_with_adaptive_quadrature():
    a, b, c = 1.0, 0.4, 0.2

    def element(v: float, u: float) -> float:
        du = np.array([-a * np.sin(u) * np.sin(v), b * np.cos(u) * np.sin(v), 0])
        dv = np.array([a * np.cos(u) * np.cos(v), b * np.sin(u) * np.cos(v), -c * np.sin(v)])
        return float(np.linalg.norm(np.cross(du, dv)))

    eighth, _ = integrate.dblquad(element, 0, np.pi / 2, 0, np.pi / 2, epsabs=1e-6)
    assert SURFACES["ellipsoid"].area == pytest.approx(8 * eighth, rel=1e-4)


def assert_shares(observed: np.ndarray, shares: np.ndarray) -> None:
    """Counts follow the shares: chi-square, of which stratified sampling can only make smaller values."""
    shares = np.asarray(shares) / np.sum(shares)
    statistic = ((observed - observed.sum() * shares) ** 2 / (observed.sum() * shares)).sum()
    assert statistic < stats.chi2.ppf(1 - 1e-4, len(shares) - 1)


def sample(name: str) -> np.ndarray:
    return SURFACES[name].sample(COUNT, np.random.default_rng(3))


def test_density_of_faces_of_a_box():
    points = sample("box")
    low = [np.isclose(points[:, axis], value).sum() for axis, value in ((0, -0.5), (1, -1.0), (2, 0.0))]
    high = [np.isclose(points[:, axis], value).sum() for axis, value in ((0, 0.5), (1, 1.0), (2, 3.0))]
    assert_shares(np.array(low + high), np.array([6, 3, 2, 6, 3, 2]))


def test_density_within_a_face_is_even():
    points = pr.box(1.0, 1.0, 1e-9).sample(COUNT, np.random.default_rng(0))
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=8, range=[[-0.5, 0.5]] * 2)
    assert_shares(counts.ravel(), np.ones(64))


def test_density_on_a_sphere_is_even_in_height_and_around():
    points = sample("sphere")
    assert_shares(np.histogram(points[:, 2], 20, (-0.7, 0.7))[0], np.ones(20))
    assert_shares(np.histogram(np.arctan2(points[:, 1], points[:, 0]), 20, (-np.pi, np.pi))[0], np.ones(20))


def test_density_on_a_cone_grows_with_its_radius():
    cone = pr.frustum(1.0, 0.3, 1.5, open_ends="bottom top")
    height = cone.sample(COUNT, np.random.default_rng(1))[:, 2]
    edges = np.linspace(0, 1.5, 16)
    radius = 1 - 0.7 * (edges[1:] + edges[:-1]) / 3
    assert_shares(np.histogram(height, edges)[0], radius)


def test_density_on_an_annulus_grows_with_its_radius():
    radius = np.linalg.norm(sample("annulus")[:, :2], axis=1)
    edges = np.linspace(0.4, 1.0, 13)
    assert_shares(np.histogram(radius, edges)[0], edges[1:] ** 2 - edges[:-1] ** 2)


@pytest.mark.parametrize("name", ["torus", "sweep"])
def test_density_on_a_bent_tube_is_larger_outside(name):
    points = sample(name)
    if name == "torus":
        tube, around, up = 0.5, np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    else:
        points = points[points[:, 2] > 0.02]  # without the caps, which lie about the plane z = 0
        tube, around, up = 0.4, np.hypot(points[:, 0], points[:, 2]), points[:, 1]
    angle = np.arctan2(up, around - 1.0)
    edges = np.linspace(-np.pi, np.pi, 17)
    shares = np.diff(edges) + tube * np.diff(np.sin(edges))
    assert_shares(np.histogram(angle, edges)[0], shares)


def test_density_on_an_ellipsoid_matches_its_area_element():
    points = sample("ellipsoid") / (1.0, 0.4, 0.2)
    height = points[:, 2]  # on the unit sphere
    z = (np.arange(2000) + 0.5) / 1000 - 1
    angle = (np.arange(200) + 0.5) * np.pi / 100
    ring = np.sqrt(1 - z**2)[:, None]
    stretch = np.sqrt(
        (ring * np.cos(angle)) ** 2 + (ring * np.sin(angle) / 0.4) ** 2 + (z[:, None] / 0.2) ** 2
    )
    shares = stretch.sum(1).reshape(20, 100).sum(1)
    assert_shares(np.histogram(height, 20, (-1, 1))[0], shares)


@pytest.mark.parametrize("name", SURFACES)
def test_bounds_are_exact(name):
    rng = np.random.default_rng(5)
    directions = rng.standard_normal((16, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reached = (SURFACES[name].sample(60_000, rng) @ directions.T).max(0)
    bound = SURFACES[name].support(directions)
    assert (reached <= bound + 1e-3).all()  # a swept polyline's circles are its vertices
    assert (reached >= bound - 0.05).all()


@pytest.mark.parametrize("name", SURFACES)
def test_any_number_of_points_can_be_asked_for(name):
    for count in (0, 1, 2, 7):
        points = SURFACES[name].sample(count, np.random.default_rng(count))
        assert points.shape == (count, 3)
        assert np.isfinite(points).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="cuts itself"):
        pr.Torus(1.0, 2.0)
    with pytest.raises(ValueError, match="negative radius"):
        pr.Lathe([(0.1, 0), (-0.1, 1)])
    with pytest.raises(ValueError, match="star-shaped"):
        pr.prism([(2, -1), (3, -1), (3, 1), (2, 1)], 1.0)


def test_builder_keeps_density_over_copies_and_parts():
    shape = Builder({"leg": "red"})
    shape.add("leg", pr.cylinder(0.05, 1.0), circle(4, 1.0))
    shape.add("top", pr.disc(1.2), (0, 0, 1), color="blue")
    cloud = shape.sample(COUNT, np.random.default_rng(0))
    leg = 2 * np.pi * 0.05 * 1.05
    assert shape.area == pytest.approx(4 * leg + np.pi * 1.44)
    assert cloud.part_names == ("leg", "top")
    legs = cloud.points[cloud.part == 0]
    quarter = (np.round(np.degrees(np.arctan2(legs[:, 1], legs[:, 0])) / 90) % 4).astype(int)
    observed = [*np.bincount(quarter, minlength=4), (cloud.part == 1).sum()]
    assert_shares(np.array(observed), np.array([leg] * 4 + [np.pi * 1.44]))


def test_builder_bounds_follow_rotation():
    shape = Builder({})
    shape.add("bar", pr.box(2.0, 1.0, 4.0), (1, 2, 3), rotate=turn("y", 90), color="red")
    low, high = shape.bounds()
    np.testing.assert_allclose(low, (1, 1.5, 2), atol=1e-12)
    np.testing.assert_allclose(high, (5, 2.5, 4), atol=1e-12)
    assert turns("z", [0, 90]).shape == (2, 3, 3)


def test_builder_refuses_a_part_without_or_with_two_colors():
    shape = Builder({})
    with pytest.raises(ValueError, match="no color"):
        shape.add("leg", pr.disc(1.0))
    shape.add("leg", pr.disc(1.0), color="red")
    with pytest.raises(ValueError, match="red already"):
        shape.add("leg", pr.disc(1.0), color="blue")


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_aim_turns_z_to_the_direction(direction):
    rotation = aim(direction)
    np.testing.assert_allclose(
        rotation @ (0, 0, 1), np.array(direction) / np.linalg.norm(direction), atol=1e-9
    )
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) > 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), max_size=5))
def test_gaps_and_what_is_taken_fill_the_interval(taken):
    inside = np.linspace(0.0005, 0.9995, 1000)
    covered = np.zeros(1000, dtype=int)
    for low, high in gaps(0.0, 1.0, [(low, high) for low, high in taken]):
        assert low < high
        covered += (inside > low) & (inside < high)
    hidden = (
        np.any([(inside > low) & (inside < high) for low, high in taken], axis=0) if taken else covered > 9
    )
    edge = (
        np.any([np.isclose(inside, v, atol=1e-9) for pair in taken for v in pair], axis=0)
        if taken
        else hidden
    )
    assert (covered[~edge] == (~np.broadcast_to(hidden, 1000))[~edge]).all()


def test_profiles_pass_through_their_knots_and_can_be_cut():
    profile = smooth([(0, 0.1), (0.5, 0.3), (1.0, 0.2)], segments=20)
    np.testing.assert_allclose(profile[[0, 10, 20]], [(0.1, 0), (0.3, 0.5), (0.2, 1.0)], atol=1e-12)
    pieces = [between(profile, low, high) for low, high in ((0, 0.33), (0.33, 0.71), (0.71, 1.0))]
    assert sum(pr.Lathe(piece).area for piece in pieces) == pytest.approx(pr.Lathe(profile).area, rel=1e-3)
