"""Shapes that are earlier ones once more, and such as only look like them."""

from pathlib import Path

import numpy as np
import pytest

from align3d.dataset import ShapeDataset
from align3d.filters import decisions_of, make_filter
from align3d.filters.duplicate_shapes import numbers_of
from align3d.filters.metric_sizes import agree, may_be
from align3d.filters.shape_hash import ANGLES, coefficients, differences, invariants, stand
from align3d.pipeline import build
from tests.align3d.filters.changed_shapes import Changed

CHANGES = [
    ("first", 0, {}),
    ("other", 2, {}),
    ("resampled", 0, {"seed": 1}),
    ("turned", 0, {"seed": 2, "turn": 77}),
    ("quarter", 0, {"seed": 3, "turn": 270}),
    ("in millimeters", 0, {"seed": 4, "unit": 1000}),
    ("smaller", 0, {"seed": 5, "unit": 0.9}),
    ("flatter", 0, {"seed": 6, "stretch": 0.93}),
    ("recolored", 0, {"seed": 7, "color": 90}),
    ("other again", 2, {"seed": 1, "turn": 10}),
    ("same", 0, {}),
]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    out = tmp_path_factory.mktemp("changed") / "set"
    return build(Changed(CHANGES), out, points=1024, workers=1, progress=False)


def found(dataset: ShapeDataset, **settings: object) -> dict[str, str]:
    made = decisions_of(dataset, [make_filter("duplicate_shapes", **settings)], progress=False)
    assert {one.action for one in made} <= {"reject"}
    return {one.item: one.reason.removeprefix("duplicate shape: of ") for one in made}


TWICE = {
    "resampled": "first",
    "turned": "first",
    "quarter": "first",
    "in millimeters": "first",
    "other again": "other",
    "same": "first, the same content",
}


def test_duplicates_are_of_the_first_of_their_kind(changed: ShapeDataset) -> None:
    assert found(changed) == TWICE


@pytest.mark.parametrize(
    ("settings", "more", "fewer"),
    [
        ({"colors": False}, {"recolored": "first"}, ()),
        ({"sizes": "any"}, {"smaller": "first"}, ()),
        ({"sizes": "same"}, {}, ("in millimeters",)),
        ({"turned": False}, {}, ("turned", "quarter", "other again")),
    ],
)
def test_settings_say_what_counts_as_the_same(
    changed: ShapeDataset, settings: dict[str, object], more: dict[str, str], fewer: tuple[str, ...]
) -> None:
    expected = {**{key: value for key, value in TWICE.items() if key not in fewer}, **more}
    got = found(changed, **settings)
    if fewer:  # one that is no duplicate of the first may be the first of others
        assert not set(fewer) & {key for key, first in got.items() if first in ("first", "other")}
    else:
        assert got == expected


def test_equal_content_is_compared_like_any_if_asked(changed: ShapeDataset) -> None:
    assert found(changed, content=False)["same"] == "first, the same content"


def test_captions_that_name_other_numbers_are_about_other_shapes(tmp_path: Path) -> None:
    texts = {
        "44": ("QFP, 44 pins, 0.8mm pitch",),
        "52": ("QFP, 52 pins, 0.65mm pitch",),
        "none": ("a flat package",),
        "44 again": ("44 pin QFP",),
    }
    changes = [
        (name, 0, {"seed": place, "captions": said}) for place, (name, said) in enumerate(texts.items())
    ]
    dataset = build(Changed(changes), tmp_path / "set", points=1024, workers=1, progress=False)
    got = found(dataset)
    assert got.keys() == {"none", "44 again"}  # what names no number contradicts none
    assert got["44 again"] == "44"
    assert found(dataset, numbers=False) == {"52": "44", "none": "44", "44 again": "44"}


def test_numbers_of_captions() -> None:
    assert numbers_of(["SOT-23, 0.95mm", "3 pins, 0,950 mm"]) == {23.0, 0.95, 3.0}


def test_the_turn_between_two_samples_is_found(changed: ShapeDataset) -> None:
    clouds = stand(changed.points([0, 3])).points
    found_at = differences(coefficients(clouds[:1])[0], coefficients(clouds[1:]))[0]
    # The second was turned by 77 degrees, so it must be turned back.
    assert found_at.argmin() * 360 / ANGLES == pytest.approx(360 - 77, abs=3)


def test_no_turn_changes_the_invariants() -> None:
    cloud = np.random.default_rng(0).normal(size=(1, 300, 3))
    cos, sin = np.cos(1.1), np.sin(1.1)
    turned = cloud @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
    one, other = (coefficients(stand(each).points) for each in (cloud, 7 * turned + 3))
    assert np.abs(invariants(one) - invariants(other)).max() < 1e-4
    assert np.allclose(one[:, :, 1] * np.exp(-1.1j), other[:, :, 1], atol=1e-4)


def test_boxes_agree_after_a_quarter_turn_and_in_another_unit() -> None:
    box, quarter = np.array([2.0, 1.0, 0.5]), np.array([1.0, 2.0, 0.5])
    assert agree(box, quarter, np.pi / 2, "same", 0.005)
    assert not agree(box, quarter, np.pi, "same", 0.005)
    assert agree(box, quarter, 0.6, "same", 0.005)  # between quarters nothing can be said
    assert not agree(box, 25.4 * box, 0, "same", 0.005)
    assert agree(box, 25.4 * box, 0, "unit", 0.005)
    assert not agree(box, 1.1 * box, 0, "unit", 0.005)
    assert agree(box, 1.1 * box, 0, "any", 0.005)
    assert not agree(box, box * [1.1, 1, 1], 0, "any", 0.005)


def test_flat_shapes_have_no_height_to_compare() -> None:
    plate = np.array([1.0, 1.0, 0.0])
    others = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.2]])
    assert may_be(plate, others, np.ones(2), "same", 0.005).tolist() == [True, False]
