"""Everything about a shape that does not depend on weights, computed once and stored.

A network that samples centers and looks for neighbors in every step spends most of its time there; here
patches, regions and spectra are prepared once per shape, so that a training step only gathers rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorClass
from torch import Tensor

from models.config import ModelConfig
from models.geometry import farthest_points, nearest

GREY = 0.4  # a missing colour
AXIS_BINS = 256
AXIS_CHANNELS = 2
PROFILE_BINS = 32
SPECTRUM_FREQUENCIES = 64


class ShapeBatch(TensorClass):
    """Prepared shapes, batch size ``[B]``; half precision at rest, cast by the encoder.

    Attributes:
        patches: ``[B, N_0, K, 6]`` float16: the points of each patch, xyz relative to its center (in units of
            the unit sphere) and rgb in ``[0, 1]``.
        centers: ``[B, N_0, 3]`` float16: patch centers in the unit sphere.
        region: ``[B, N_0]`` uint8: the region each patch belongs to.
        region_centers: ``[B, N_1, 3]`` float16.
        size_m: ``[B, 3]`` float32: metric bounding box in meters.
        profile: ``[B, 3, AXIS_CHANNELS, PROFILE_BINS]`` float16, see `axis_profiles`.
        spectrum: ``[B, 3, AXIS_CHANNELS, SPECTRUM_FREQUENCIES]`` float16, see `axis_profiles`.
        patch_of_point: ``[B, P]`` uint8: the nearest patch of each point, to lift attention to points.
    """

    patches: Tensor
    centers: Tensor
    region: Tensor
    region_centers: Tensor
    size_m: Tensor
    profile: Tensor
    spectrum: Tensor
    patch_of_point: Tensor


def axis_profiles(xyz: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Profile and spectrum of a shape along each axis: what it looks like, and how strongly it repeats.

    The density of the points (channel 0) and their brightness about its mean (channel 1) over the bounding
    box, and the magnitudes of the Fourier transforms of both by number of repetitions: a row of n equal pins
    over the whole length shows as a peak at n, so repeated parts stay countable whatever the patches.

    Args:
        xyz: ``[B, P, 3]`` points.
        rgb: ``[B, P, 3]`` colors in ``[0, 1]``.

    Returns:
        The profile ``[B, 3, AXIS_CHANNELS, PROFILE_BINS]``, a uniform density being 1; and the spectrum
        ``[B, 3, AXIS_CHANNELS, SPECTRUM_FREQUENCIES]`` in ``[0, 1]`` for 1, 2, ... repetitions.
    """
    batch, points, _ = xyz.shape
    low, high = xyz.amin(1, keepdim=True), xyz.amax(1, keepdim=True)
    unit = (xyz - low) / (high - low).clamp_min(1e-6)
    bins = (unit * AXIS_BINS).long().clamp_(0, AXIS_BINS - 1).transpose(1, 2)  # [B, 3, P]
    brightness = rgb.mean(-1)
    brightness = brightness - brightness.mean(1, keepdim=True)
    weights = torch.stack([torch.ones_like(brightness), brightness], dim=1)  # [B, 2, P]
    density = torch.zeros(batch, 3, AXIS_CHANNELS, AXIS_BINS, device=xyz.device)
    density.scatter_add_(
        3,
        bins.unsqueeze(2).expand(batch, 3, AXIS_CHANNELS, points),
        weights.unsqueeze(1).expand(batch, 3, AXIS_CHANNELS, points).contiguous(),
    )
    density /= points
    profile = density.unflatten(-1, (PROFILE_BINS, -1)).sum(-1) * PROFILE_BINS
    return profile, torch.fft.rfft(density).abs()[..., 1 : SPECTRUM_FREQUENCIES + 1]


def prepare_shapes(
    xyz: Tensor,
    rgb: Tensor,
    size_m: Tensor,
    config: ModelConfig,
    *,
    chunk: int = 64,
    advance: Callable[[int], None] | None = None,
) -> ShapeBatch:
    """Computes patches, regions and spectra of many shapes.

    Args:
        xyz: ``[B, P, 3]`` points in the unit sphere, any float type.
        rgb: ``[B, P, 3]`` uint8 colors.
        size_m: ``[B, 3]`` metric bounding box in meters.
        config: Sizes; the first ``config.points`` points of each cloud are read (their order is random).
        chunk: Shapes at a time.
        advance: Called with the number of shapes done since the last call, for a progress bar.

    Returns:
        The prepared shapes, on the CPU.

    Raises:
        ValueError: If the shapes of the arguments do not fit, or clouds have too few points.
    """
    if xyz.ndim != 3 or xyz.shape[-1] != 3 or rgb.shape != xyz.shape or size_m.shape != (len(xyz), 3):
        raise ValueError(
            f"xyz {tuple(xyz.shape)}, rgb {tuple(rgb.shape)}, size_m {tuple(size_m.shape)}: "
            "expected [B, P, 3], [B, P, 3] and [B, 3]"
        )
    if xyz.shape[1] < config.points:
        raise ValueError(
            f"clouds of {xyz.shape[1]} points: the model reads {config.points}; "
            "build the data with more points or choose a smaller model"
        )
    parts = []
    for start in range(0, len(xyz), chunk):
        stop = min(start + chunk, len(xyz))
        parts.append(
            _prepare(
                xyz[start:stop, : config.points].float(),
                rgb[start:stop, : config.points].float() / 255,
                size_m[start:stop].float(),
                config,
            )
        )
        if advance is not None:
            advance(stop - start)
    return torch.cat(parts)  # type: ignore[arg-type,return-value]  # a tensorclass is cat like a tensor


def _prepare(xyz: Tensor, rgb: Tensor, size_m: Tensor, config: ModelConfig) -> ShapeBatch:
    batch = len(xyz)
    rows = torch.arange(batch).unsqueeze(-1)
    centers = xyz[rows, farthest_points(xyz, config.patches)]  # [B, N_0, 3]
    neighbors = nearest(centers, xyz, config.patch_points)  # [B, N_0, K]
    cloud = torch.cat([xyz, rgb], dim=-1)
    patches = cloud[rows.unsqueeze(-1), neighbors]  # [B, N_0, K, 6]
    patches[..., :3] -= centers.unsqueeze(2)
    region_centers = centers[rows, farthest_points(centers, config.regions)]  # [B, N_1, 3]
    profile, spectrum = axis_profiles(xyz, rgb)
    return ShapeBatch(
        patches=patches.half(),
        centers=centers.half(),
        region=nearest(centers, region_centers, 1).squeeze(-1).to(torch.uint8),
        region_centers=region_centers.half(),
        size_m=size_m,
        profile=profile.half(),
        spectrum=spectrum.half(),
        patch_of_point=nearest(xyz, centers, 1).squeeze(-1).to(torch.uint8),
        batch_size=[batch],
    )
