"""Prepared shapes: patches are the nearest points, spectra count."""

import dataclasses

import pytest
import torch

from models import SIZES, prepare_shapes
from models.shapes import axis_profiles

TINY = SIZES["tiny"]


def clouds(count: int = 3, points: int = 300) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    xyz = torch.rand(count, points, 3, generator=generator) - 0.5
    rgb = torch.randint(0, 256, (count, points, 3), generator=generator, dtype=torch.uint8)
    return xyz, rgb, torch.rand(count, 3, generator=generator)


@pytest.mark.parametrize("pins", [3, 11, 13, 40])
def test_spectrum_peaks_at_the_number_of_repetitions(pins: int) -> None:
    generator = torch.Generator().manual_seed(pins)
    pin = torch.randint(0, pins, (1, 2048), generator=generator)
    xyz = torch.rand(1, 2048, 3, generator=generator)
    xyz[..., 1] = (pin + 0.3 * xyz[..., 1]) * 2.54  # pins along y; x and z do not repeat
    _, spectrum = axis_profiles(xyz, torch.full_like(xyz, 0.4))
    assert (
        abs(int(spectrum[0, 1, 0].argmax()) + 1 - pins) <= 1
    )  # the last gap is missing: between n - 1 and n
    assert spectrum[0, 1, 0].max() > 3 * spectrum[0, 0, 0].max()


def test_patches_hold_the_nearest_points_relative_to_their_centre() -> None:
    xyz, rgb, size = clouds()
    shapes = prepare_shapes(xyz, rgb, size, TINY, chunk=2)
    points, center = xyz[1, : TINY.points], shapes.centers[1, 5].float()
    nearest = (points - center).norm(dim=-1).sort().values[: TINY.patch_points]
    radius = shapes.patches[1, 5, :, :3].float().norm(dim=-1)
    torch.testing.assert_close(radius, nearest, atol=2e-3, rtol=0)
    assert shapes.patches[..., 3:].min() >= 0
    assert shapes.patches[..., 3:].max() <= 1


def test_membership_is_the_nearest_centre() -> None:
    shapes = prepare_shapes(*clouds(), TINY)
    distance = torch.cdist(shapes.centers.float(), shapes.region_centers.float())
    assert (
        distance.gather(2, shapes.region.long().unsqueeze(-1)).squeeze(-1) <= distance.amin(-1) + 2e-3
    ).all()
    assert shapes.patch_of_point.shape == (3, TINY.points)
    assert int(shapes.patch_of_point.max()) < TINY.patches


def test_chunks_do_not_matter() -> None:
    one, many = (prepare_shapes(*clouds(), TINY, chunk=chunk) for chunk in (1, 64))
    for name in ("patches", "centers", "region", "spectrum", "profile", "patch_of_point"):
        assert torch.equal(getattr(one, name), getattr(many, name)), name


def test_too_few_points_is_said() -> None:
    with pytest.raises(ValueError, match="clouds of 300 points: the model reads 512"):
        prepare_shapes(*clouds(), dataclasses.replace(TINY, points=512))


def test_wrong_axes_are_said() -> None:
    xyz, rgb, size = clouds()
    with pytest.raises(ValueError, match="size_m"):
        prepare_shapes(xyz, rgb, size[:2], TINY)
