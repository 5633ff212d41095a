"""Augmentation of prepared shapes: turns about the up axis, another scale, noise on the points.

Patches stay the sets of points that they are: a turn moves them and leaves who is whose neighbor. What is
measured along the axes is measured anew, on the whole cloud.

Captions speak of millimeters, so no size is invented: ``scale`` draws a shape larger or smaller in its frame
and leaves the metric size alone, which is known from elsewhere; so does noise. A quarter turn swaps sides of
the bounding box, and a turn by any angle measures them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from align3d.dataset import ShapeDataset
from experiments.settings.schema import TrainConfig
from models import ShapeBatch
from models.shapes import axis_profiles

QUARTERS = 4
MOST_NOISE = 5.0  # standard deviations; as in PointNet++
_AROUND = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}
"""The two axes that a turn about an axis mixes, the first towards the second."""


@dataclass(frozen=True)
class Augmentation:
    """What shapes of a batch are shown with, drawn for each.

    Args:
        config: Says what; all of it is off by default.
        up_axis: Axis about which shapes are turned: "x", "y" or "z".
    """

    config: TrainConfig
    up_axis: str

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.config.turn != "none" or self.config.scale > 0 or self.config.jitter > 0

    def __call__(
        self, shapes: ShapeBatch, dataset: ShapeDataset, indices: Tensor, draws: torch.Generator
    ) -> ShapeBatch:
        """The shapes, changed.

        Args:
            shapes: Prepared, batch ``[B]``.
            dataset: Holds their points.
            indices: ``[B]`` their rows there.
            draws: Generator of everything that is drawn.
        """
        config, changed = self.config, shapes.clone()
        patches, centers = shapes.patches.float(), shapes.centers.float()
        regions, cloud = shapes.region_centers.float(), None
        if config.turn != "none" or config.jitter:
            points = shapes.patch_of_point.shape[1]
            cloud = torch.from_numpy(dataset.points(indices.numpy())[:, :points]).float()
        if config.turn != "none":
            assert cloud is not None
            turn = self._turns(len(indices), draws)  # [B, 3, 3]
            before = cloud
            patches[..., :3] = torch.einsum("bij,bnkj->bnki", turn, patches[..., :3])
            centers, regions, cloud = (x @ turn.mT for x in (centers, regions, cloud))
            changed.size_m = self._turned_size(shapes.size_m, turn, before, cloud)
        if config.scale:
            factor = 1 + config.scale * (2 * torch.rand(len(indices), 1, 1, generator=draws) - 1)
            patches[..., :3] *= factor.unsqueeze(-1)
            centers, regions = centers * factor, regions * factor
        if config.jitter:
            assert cloud is not None
            patches[..., :3] += self._noise(patches[..., :3].shape, draws)
            cloud = cloud + self._noise(cloud.shape, draws)
        if cloud is not None:
            colors = torch.from_numpy(dataset.colors(indices.numpy())[:, : cloud.shape[1]]).float() / 255
            profile, spectrum = axis_profiles(cloud, colors)
            changed.profile, changed.spectrum = profile.half(), spectrum.half()
        changed.patches, changed.centers, changed.region_centers = (
            patches.half(),
            centers.half(),
            regions.half(),
        )
        return changed

    def _turns(self, count: int, draws: torch.Generator) -> Tensor:
        """Rotations ``[count, 3, 3]`` about the up axis; quarter turns are exact."""
        if self.config.turn == "quarter":
            quarter = torch.randint(QUARTERS, (count,), generator=draws)
            cosine = torch.tensor([1.0, 0.0, -1.0, 0.0])[quarter]
            sine = torch.tensor([0.0, 1.0, 0.0, -1.0])[quarter]
        else:
            angle = 2 * math.pi * torch.rand(count, generator=draws)
            cosine, sine = angle.cos(), angle.sin()
        first, second = _AROUND[self.up_axis]
        turn = torch.eye(3).repeat(count, 1, 1)
        turn[:, first, first] = turn[:, second, second] = cosine
        turn[:, second, first], turn[:, first, second] = sine, -sine
        return turn

    def _turned_size(self, size_m: Tensor, turn: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Sides of the bounding box in meters ``[B, 3]`` after a turn of the cloud ``[B, P, 3]``."""
        if self.config.turn == "quarter":
            return (turn.abs() @ size_m.unsqueeze(-1)).squeeze(-1)
        old, new = (cloud.amax(1) - cloud.amin(1) for cloud in (before, after))
        meters = size_m.amax(-1, keepdim=True) / old.amax(-1, keepdim=True).clamp_min(1e-12)
        return (size_m + meters * (new - old)).clamp_min(0)

    def _noise(self, shape: torch.Size, draws: torch.Generator) -> Tensor:
        return self.config.jitter * torch.randn(shape, generator=draws).clamp(-MOST_NOISE, MOST_NOISE)
