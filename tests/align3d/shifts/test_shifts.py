"""Shifts of single clouds: what each does, by its formula, and that nothing but the shape decides it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import linprog

from align3d.errors import DataError
from align3d.record import MISSING_COLOR
from align3d.shifts import SHIFTS, Cloud, parse_shift, register_shift
from models.shapes import GREY

POINTS = 2048
LEVELED = ("partial", "sparse", "scale", "jitter", "rotate")
LEVELED += ("dropout_global", "dropout_local", "add_global", "add_local")


def cloud_of(number: int = 0) -> Cloud:
    """A box of 3 × 2 × 1 in the unit sphere, each point with its number as part label and in its color."""
    rng = np.random.default_rng(number)
    points = rng.uniform(-1, 1, (POINTS, 3)) * (3, 2, 1)
    points -= points.mean(0)
    points /= np.linalg.norm(points, axis=1).max()
    index = np.arange(POINTS)
    colors = np.stack([index // 256, index % 256, index * 0], axis=1)
    return Cloud(
        points=points.astype(np.float32),
        colors=colors.astype(np.uint8),
        part=index.astype(np.int16),
        size_m=np.float32([0.03, 0.02, 0.01]),
    )


CLOUD = cloud_of()


def shifted(name: str, cloud: Cloud = CLOUD, seed: int = 0, content: str = "a") -> Cloud:
    return parse_shift(name)(cloud, seed, content)


def equal(one: Cloud, other: Cloud) -> bool:
    names = [field.name for field in dataclasses.fields(Cloud)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("name", [*SHIFTS, *(f"{name}:{level}" for name in LEVELED for level in range(5))])
def test_a_shift_is_a_function_of_shape_and_seed(name: str) -> None:
    before = dataclasses.replace(CLOUD, points=CLOUD.points.copy(), colors=CLOUD.colors.copy())
    found = shifted(name)
    shifted(name, cloud_of(1), content="b")
    assert equal(found, shifted(name))
    assert equal(CLOUD, before), "a shift leaves its argument alone"
    for field in dataclasses.fields(Cloud):
        new, old = getattr(found, field.name), getattr(CLOUD, field.name)
        assert (new.shape, new.dtype) == (old.shape, old.dtype), field.name
    assert np.isfinite(found.points).all()
    assert (found.size_m >= 0).all()
    assert equal(found, CLOUD) == (name == "clean")
    fixed = ("clean", "grey", "sparse", "unit", "unit_unknown", "axis")
    assert equal(found, shifted(name, seed=1)) == (name.partition(":")[0] in fixed)
    assert equal(found, shifted(name, content="c")) == (name.partition(":")[0] in fixed)


@pytest.mark.parametrize("name", [*SHIFTS])
def test_parts_and_colors_follow_their_points(name: str) -> None:
    found = shifted(name)
    own = found.part >= 0
    assert own.any()
    if name != "grey":
        np.testing.assert_array_equal(found.colors[own], CLOUD.colors[found.part[own]])
    if name in ("sparse", "dropout_global", "dropout_local", "add_global", "add_local"):
        np.testing.assert_array_equal(found.points[own], CLOUD.points[found.part[own]])
        np.testing.assert_array_equal(found.size_m, CLOUD.size_m)
    assert own.all() or name.startswith("add_")


def test_without_color_is_what_the_model_takes_for_a_missing_one() -> None:
    assert (shifted("grey").colors == MISSING_COLOR).all()
    assert pytest.approx(GREY) == MISSING_COLOR / 255


@pytest.mark.parametrize(("level", "share"), enumerate((0.85, 0.75, 0.65, 0.55, 0.45)))
def test_a_partial_scan_is_one_side_of_a_plane_in_a_frame_of_its_own(level: int, share: float) -> None:
    found = shifted(f"partial:{level}")
    kept = np.unique(found.part)
    assert len(kept) == round(share * POINTS)
    assert len(np.unique(found.part[: len(kept)])) == len(kept), "no point twice before each was there once"
    sides = np.where(np.isin(CLOUD.part, kept), 1.0, -1.0)[:, None]
    plane = np.hstack([-sides * CLOUD.points, sides, np.ones_like(sides)])  # margin ≤ side (way · p - offset)
    bounds = [(-1, 1)] * 3 + [(None, None)] * 2
    found_plane = linprog([0, 0, 0, 0, -1], plane, np.zeros(POINTS), bounds=bounds)
    assert -found_plane.fun > 0, "no plane has all that is left on one side"
    np.testing.assert_allclose(found.points.mean(0), 0, atol=1e-6)
    assert np.linalg.norm(found.points, axis=1).max() == pytest.approx(1)
    box = np.ptp(CLOUD.points[kept], axis=0)
    np.testing.assert_allclose(found.size_m / CLOUD.size_m, box / np.ptp(CLOUD.points, axis=0), rtol=0.02)


@pytest.mark.parametrize(("level", "count"), enumerate((1024, 512, 256, 128, 64)))
def test_a_sparse_cloud_has_few_points_and_those_first(level: int, count: int) -> None:
    found = shifted(f"sparse:{level}")
    np.testing.assert_array_equal(found.points[:count], CLOUD.points[:count])
    np.testing.assert_array_equal(found.points, np.resize(CLOUD.points[:count], CLOUD.points.shape))


def test_a_wrong_or_unknown_unit_changes_nothing_but_the_size() -> None:
    wrong, unknown = shifted("unit"), shifted("unit_unknown")
    np.testing.assert_allclose(wrong.size_m, [0.762, 0.508, 0.254], rtol=1e-6)
    np.testing.assert_array_equal(unknown.size_m, np.ptp(CLOUD.points, axis=0))
    assert equal(dataclasses.replace(wrong, size_m=CLOUD.size_m), CLOUD)
    assert equal(dataclasses.replace(unknown, size_m=CLOUD.size_m), CLOUD)


def turn_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(before, after, rcond=None)[0].T


def test_an_exchanged_axis_is_a_quarter_turn_and_no_mirror() -> None:
    found = shifted("axis")
    turn = turn_between(CLOUD.points, found.points)
    np.testing.assert_allclose(turn, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-5)
    np.testing.assert_allclose(found.size_m, [0.03, 0.01, 0.02])


@pytest.mark.parametrize("level", range(5))
def test_modelnet_c_moves_points_by_the_formulas(level: int) -> None:
    noise = shifted(f"jitter:{level}").points - CLOUD.points
    assert noise.std() == pytest.approx(0.01 * (level + 1), rel=0.03)

    turns = [shifted(f"rotate:{level}", content=str(each)) for each in range(60)]
    most = np.pi / 30 * (level + 1)
    angles = []
    for turned in turns:
        turn = turn_between(CLOUD.points, turned.points)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-4)
        angles.append([np.arctan2(turn[2, 1], turn[2, 2]), np.arctan2(turn[1, 0], turn[0, 0])])
    assert 0.85 * most < np.abs(angles).max() <= 1.001 * most

    stretch = 1.6 + 0.1 * level
    for each in range(30):
        found = shifted(f"scale:{level}", content=str(each))
        factors = found.size_m / CLOUD.size_m
        assert (factors >= 1 / stretch).all()
        assert (factors <= stretch).all()
        expected = CLOUD.points * factors
        expected -= expected.mean(0)
        np.testing.assert_allclose(found.points, expected / np.linalg.norm(expected, axis=1).max(), atol=1e-5)


@pytest.mark.parametrize("level", range(5))
def test_modelnet_c_takes_and_adds_the_points_of_the_formulas(level: int) -> None:
    kept = len(np.unique(shifted(f"dropout_global:{level}").part))
    assert kept == round(POINTS * (1 - (0.25, 0.375, 0.5, 0.625, 0.75)[level]))
    assert len(np.unique(shifted(f"dropout_local:{level}").part)) == POINTS - 200 * (level + 1)
    for name, added in (("add_global", 20 * (level + 1)), ("add_local", 200 * (level + 1))):
        found = shifted(f"{name}:{level}")
        stray = found.points[found.part < 0]
        assert len(stray) == pytest.approx(added * POINTS / (POINTS + added), rel=0.35)
        assert np.linalg.norm(stray, axis=1).max() <= 1 + 1e-6
        own = found.part[found.part >= 0]
        assert len(np.unique(own)) == len(own)


def test_stray_points_fill_the_ball_or_surround_some_points() -> None:
    every = [shifted("add_global:4", content=str(each)) for each in range(40)]
    radius = np.concatenate([np.linalg.norm(one.points[one.part < 0], axis=1) for one in every])
    assert (radius**3).mean() == pytest.approx(0.5, abs=0.03)  # uniform in the ball
    near = []
    for each in range(20):
        found = shifted("add_local:4", content=str(each))
        stray = found.part < 0
        center = CLOUD.points[found.colors[stray, 0].astype(int) * 256 + found.colors[stray, 1]]
        near.append(np.linalg.norm(found.points[stray] - center, axis=1))
        assert 1 <= len(np.unique(center, axis=0)) <= 7
    assert np.sqrt(np.square(np.concatenate(near)).mean() / 3) == pytest.approx(0.1, abs=0.02)


def test_a_hole_is_round() -> None:
    for each in range(30):
        found = shifted("dropout_local:0", content=str(each))
        hidden = CLOUD.points[np.setdiff1d(CLOUD.part, found.part)]
        left = CLOUD.points[np.unique(found.part)]
        if np.linalg.norm(hidden - hidden.mean(0), axis=1).max() < 0.45:  # a single hole
            inside = np.linalg.norm(left - hidden.mean(0), axis=1).min()
            assert inside > 0.02
            return
    raise AssertionError("no shape with a single hole")


def test_levels_of_a_shift_draw_the_same_numbers() -> None:
    weak, strong = (shifted(f"jitter:{level}").points - CLOUD.points for level in (0, 4))
    np.testing.assert_allclose(5 * weak, strong, atol=1e-5)
    assert np.isin(shifted("partial:4").part, shifted("partial:0").part).all()


@pytest.mark.parametrize("name", LEVELED)
def test_the_default_level_is_the_middle_one(name: str) -> None:
    assert str(parse_shift(name)) == f"{name}:2"
    assert equal(shifted(name), shifted(f"{name}:2"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jiter", "shift=jiter: expected one of clean, grey.*; did you mean jitter"),
        ("jitter:5", "shift=jitter:5: expected a level from 0 to 4"),
        ("jitter:", "shift=jitter:: expected a level from 0 to 4"),
        ("grey:1", "shift=grey:1: expected grey, which has no levels"),
        ("", "shift=: expected one of"),
    ],
)
def test_a_wrong_name_is_told_with_what_to_do(name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_shift(name)


@pytest.fixture
def registered() -> Iterator[None]:
    before = dict(SHIFTS)
    yield
    SHIFTS.clear()
    SHIFTS.update(before)
    sys.modules.pop("examples.faded_shift", None)  # so that it registers again for those who import it


@pytest.mark.usefixtures("registered")
def test_a_shift_of_ones_own_has_levels_if_it_takes_one() -> None:
    from examples.faded_shift import faded  # which registers it, so not before tests are collected

    register_shift("faded")(faded)
    weak, strong = (np.ptp(shifted(f"faded:{level}").colors.astype(int), axis=1).mean() for level in (0, 4))
    assert np.ptp(CLOUD.colors.astype(int), axis=1).mean() > weak > 4 * strong
    assert equal(dataclasses.replace(shifted("faded"), colors=CLOUD.colors), CLOUD)
    assert parse_shift("faded").fingerprint != parse_shift("faded:3").fingerprint
    with pytest.raises(ValueError, match="without a colon"):
        register_shift("faded:2")
    typed: dict[str, object] = {"register_shift": register_shift}
    with pytest.raises(ValueError, match="in a file"):
        exec("@register_shift('typed')\ndef typed(cloud, rng): return cloud", typed)
