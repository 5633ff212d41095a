"""The point encoder: patches, regions and the whole object, fine to coarse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.fourier import LOG_FEATURES, log_features
from models.layers import Transformer, gather_rows, perceptron
from models.shapes import AXIS_CHANNELS, GREY, PROFILE_BINS, SPECTRUM_FREQUENCIES, ShapeBatch

LEVELS = ("patches", "regions", "object")
OBJECT_NODES = 4  # the object as a whole, and its extent along x, y and z
AXIS_NODES = slice(1, 4)  # of the object's nodes
MILLIMETERS = 1e3


@dataclass
class PointHierarchy:
    """Features of a batch of shapes at all levels, fine to coarse.

    Attributes:
        nodes: ``[B, N, D]``, level after level: ``N_0`` patches, ``N_1`` regions, `OBJECT_NODES`.
        centers: ``[B, N, 3]`` where each node is, in the unit sphere (the object's nodes at the origin).
        region: ``[B, N]`` int64, the region a node belongs to; ``R`` for the object's nodes, which have none.
        extent: ``[B, 3]`` binary logarithms of the bounding box in millimeters, along x, y and z.
        spectrum: ``[B, 3, AXIS_CHANNELS, SPECTRUM_FREQUENCIES]``, see `models.shapes.axis_profiles`.
        embedding: ``[B, E]``, L2-normalized global embedding.
        hidden: ``[B, N]`` bool, nodes that no token attends to; None in evaluation, where there are none.
    """

    nodes: Tensor
    centers: Tensor
    region: Tensor
    extent: Tensor
    spectrum: Tensor
    embedding: Tensor
    hidden: Tensor | None = None

    def select(self, index: Tensor) -> PointHierarchy:
        """The shapes at ``index`` (int64 of any shape; it replaces the batch axis)."""
        return PointHierarchy(
            nodes=gather_rows(self.nodes, index),
            centers=self.centers[index],
            region=self.region[index],
            extent=self.extent[index],
            spectrum=self.spectrum[index],
            embedding=gather_rows(self.embedding, index),
            hidden=None if self.hidden is None else self.hidden[index],
        )


class PointEncoder(nn.Module):
    """Encodes prepared shapes.

    The point-wise network stays narrow, pools over the points of each patch and widens only then: its cost is
    that of the narrow part. Regions pool the patches that belong to them; the object's nodes are the pooled
    whole and one node for each axis, which carries the metric extent and the repetitions along that axis.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, narrow = config.width, config.width // 2
        self.config = config
        self.level_sizes = (config.patches, config.regions, OBJECT_NODES)
        self.point = perceptron(6, narrow // 2, narrow)
        self.widen = perceptron(narrow, width, width)
        self.place = perceptron(3 + 3 + LOG_FEATURES, width, width)
        self.transformer = Transformer(config.point_layers, width, config.heads, config.dropout)
        self.region = perceptron(2 * width + 3, width, width)
        self.object = perceptron(2 * width + 4 * LOG_FEATURES, 2 * width, width)
        self.axis = perceptron(
            LOG_FEATURES + AXIS_CHANNELS * (PROFILE_BINS + SPECTRUM_FREQUENCIES), 2 * width, width
        )
        self.axis_kind = nn.Parameter(0.02 * torch.randn(3, width))
        self.level_kind = nn.Parameter(0.02 * torch.randn(len(LEVELS), width))
        self.norm = nn.LayerNorm(width)
        self.embedding = perceptron(OBJECT_NODES * width, 2 * config.embedding, config.embedding)

    def forward(self, shapes: ShapeBatch) -> PointHierarchy:
        """Encodes ``B`` shapes.

        Args:
            shapes: Prepared shapes, batch ``[B]``.

        Returns:
            Features of all levels.
        """
        batch = shapes.batch_size[0]
        centers = shapes.centers.float()
        points = self._drop_color(shapes.patches.float())  # [B, N_0, K, 6]
        spread = points.new_tensor(
            [4.0, 4.0, 4.0, 1.0, 1.0, 1.0]
        )  # patches span a fraction of the unit sphere
        pooled = self.point(points * spread).amax(2)  # [B, N_0, narrow]
        millimeters = shapes.size_m.clamp_min(1e-6) * MILLIMETERS
        size = log_features(millimeters)  # [B, 3, F]
        longest = log_features(shapes.size_m.amax(-1).clamp_min(1e-6) * MILLIMETERS)  # [B, F]
        metric = centers * shapes.size_m.amax(-1)[:, None, None] * MILLIMETERS / 10
        place = torch.cat([centers, metric, longest.unsqueeze(1).expand(-1, centers.shape[1], -1)], dim=-1)
        shown = self._drop_patches(shapes.region.long())
        patches = self.transformer(self.widen(pooled) + self.place(place), shown)  # [B, N_0, D]

        regions = self._pool_regions(patches, shapes, shown)
        whole = torch.cat([*_mean_and_peak(patches, shown), size.flatten(1), longest], dim=-1)
        profile, spectrum = shapes.profile.float().flatten(2), shapes.spectrum.float().flatten(2)
        axes = self.axis(torch.cat([size, profile, 10 * spectrum], dim=-1)) + self.axis_kind
        objects = torch.cat([self.object(whole).unsqueeze(1), axes], dim=1)  # [B, OBJECT_NODES, D]

        levels = [patches, regions, objects]
        nodes = torch.cat([x + kind for x, kind in zip(levels, self.level_kind, strict=True)], dim=1)
        embedding = self.embedding(self.norm(objects).flatten(1))
        zeros = centers.new_zeros(batch, OBJECT_NODES, 3)
        own = torch.arange(self.config.regions, device=centers.device).expand(batch, -1)
        none = torch.full((batch, OBJECT_NODES), self.config.regions, device=centers.device)
        return PointHierarchy(
            nodes=self.norm(nodes),
            centers=torch.cat([centers, shapes.region_centers.float(), zeros], dim=1),
            region=torch.cat([shapes.region.long(), own, none], dim=1),
            extent=millimeters.log2(),
            spectrum=shapes.spectrum.float(),
            embedding=nn.functional.normalize(embedding, dim=-1),
            hidden=None if shown is None else nn.functional.pad(~shown, (0, nodes.shape[1] - shown.shape[1])),
        )

    def _pool_regions(self, patches: Tensor, shapes: ShapeBatch, shown: Tensor | None) -> Tensor:
        member = nn.functional.one_hot(shapes.region.long(), self.config.regions).to(patches)  # [B, N_0, R]
        if shown is not None:
            member = member * shown.unsqueeze(-1)
        count = member.sum(1).clamp_min(1).unsqueeze(-1)  # [B, R, 1]
        mean = member.transpose(1, 2) @ patches / count
        outside = (member.transpose(1, 2).unsqueeze(-1) == 0) * -1e4  # [B, R, N_0, 1]
        peak = (patches.unsqueeze(1) + outside).amax(2)
        share = count / patches.shape[1]
        extra = torch.cat([share, share.sqrt(), share.log()], dim=-1)
        return self.region(torch.cat([mean, peak, extra], dim=-1))

    def _drop_patches(self, region: Tensor) -> Tensor | None:
        """Patches that are shown, bool ``[B, N_0]``, at least one of each region; None for all.

        After "patch dropout" of Li et al., "Scaling Language-Image Pre-training via Masking" (2023).

        Args:
            region: ``[B, N_0]`` int64.
        """
        if not self.training or self.config.patch_dropout == 0:
            return None
        draws = torch.rand(region.shape, device=region.device)
        most = draws.new_zeros(len(region), self.config.regions).scatter_reduce(1, region, draws, "amax")
        return (draws >= self.config.patch_dropout) | (draws == most.gather(1, region))

    def _drop_color(self, points: Tensor) -> Tensor:
        if not self.training or self.config.color_dropout == 0:
            return points
        drop = torch.rand(len(points), 1, 1, 1, device=points.device) < self.config.color_dropout
        return torch.cat([points[..., :3], torch.where(drop, GREY, points[..., 3:])], dim=-1)


def _mean_and_peak(patches: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and largest features of the patches that are shown, ``[B, D]`` each."""
    if shown is None:
        return patches.mean(1), patches.amax(1)
    rows = shown.unsqueeze(-1)
    mean = (patches * rows).sum(1) / rows.sum(1)
    return mean, patches.masked_fill(~rows, -torch.inf).amax(1)
