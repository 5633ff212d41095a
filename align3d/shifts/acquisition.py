"""Shifts of how a shape was acquired: no color, one side only, few points, a wrong unit or a wrong pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3d.record import MISSING_COLOR
from align3d.sampling import rotate_up
from align3d.shifts.cloud import Cloud
from align3d.shifts.shift_registry import CLEAN, DEFAULT_LEVEL, register_shift

SEEN = (0.85, 0.75, 0.65, 0.55, 0.45)
FEW_POINTS = (1024, 512, 256, 128, 64)
INCH = 25.4


@register_shift(CLEAN)
def clean(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """Leaves the shape as it is."""
    return cloud


@register_shift("grey")
def grey(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """Takes the color away: what is left is the gray that stands for a missing one."""
    return replace(cloud, colors=np.full_like(cloud.colors, MISSING_COLOR))


@register_shift("partial")
def partial(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Keeps 85, 75, 65, 55 or 45 % of the points: those on one side of a plane of random direction.

    A scan knows nothing of what it has not seen, so its frame and its metric size are those of what is left.
    """
    way = rng.standard_normal(3).astype(np.float32)
    kept = max(1, round(len(cloud) * SEEN[level]))
    side = np.argpartition(cloud.points @ way, len(cloud) - kept)[len(cloud) - kept :]
    return cloud.only(np.sort(side)).remeasured(cloud).centered()


@register_shift("sparse")
def sparse(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Keeps the first 1,024, 512, 256, 128 or 64 points; a model that reads no more of them loses nothing."""
    return cloud.only(np.arange(min(FEW_POINTS[level], len(cloud))))


@register_shift("unit")
def unit(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """Takes millimeters for inches: the metric size is 25.4 times what it is."""
    return replace(cloud, size_m=cloud.size_m * np.float32(INCH))


@register_shift("unit_unknown")
def unit_unknown(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """Loses the unit: the metric size is that of the cloud's own coordinates, as if they were meters.

    So a source records files whose unit is not known, see ``unit_m`` of `align3d.sources.folder`. The
    proportions stay; the longest side is between one and two meters in nearly every shape.
    """
    return replace(cloud, size_m=np.ptp(cloud.points, axis=0))


@register_shift("axis")
def axis(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """Takes z, which points up, for y: a quarter turn about x, and no mirror image."""
    points = rotate_up(cloud.points.astype(np.float64), "y").astype(np.float32)
    return replace(cloud, points=points, size_m=cloud.size_m[[0, 2, 1]])
