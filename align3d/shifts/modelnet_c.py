"""Corruptions of ModelNet-C: seven, at five levels each.

After Ren et al., "Benchmarking and Analyzing Point Cloud Classification under Corruptions" (ICML 2022);
written from the formulas. Numbers of points are per 1,024 and follow the size of the cloud. Noise, holes and
stray points leave the metric size as it is, which is known from elsewhere; a stretched or turned shape has
the size that it was given. All but ``scale`` keep the frame, as in ModelNet-C.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3d.record import MISSING_COLOR
from align3d.shifts.cloud import Cloud
from align3d.shifts.shift_registry import DEFAULT_LEVEL, register_shift

COUNTED_POINTS = 1024
"""Points of a cloud that the numbers of the formulas are for."""
MOST_CLUSTERS = 7
STRETCHES = (1.6, 1.7, 1.8, 1.9, 2.0)
DROPPED = (0.25, 0.375, 0.5, 0.625, 0.75)
NOISE = 0.01
ANGLE = np.pi / 30
CLUSTER_RADIUS = (0.075, 0.125)


@register_shift("scale")
def scale(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Stretches each axis by a factor from 1/s to s, s = 1.6 to 2.0, and centers the cloud again."""
    factors = rng.uniform(1 / STRETCHES[level], STRETCHES[level], 3).astype(np.float32)
    return replace(cloud, points=cloud.points * factors, size_m=cloud.size_m * factors).centered()


@register_shift("jitter")
def jitter(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Moves each point by Gaussian noise, σ = 0.01 to 0.05 of the unit sphere's radius."""
    noise = rng.standard_normal(cloud.points.shape, np.float32)
    return replace(cloud, points=cloud.points + NOISE * (level + 1) * noise)


@register_shift("rotate")
def rotate(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Turns the shape about x, then y, then z, by at most π/30 to π/6 each."""
    turn = np.eye(3)
    for axis, angle in enumerate(rng.uniform(-1, 1, 3) * ANGLE * (level + 1)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[first, first] = about[second, second] = np.cos(angle)
        about[second, first], about[first, second] = np.sin(angle), -np.sin(angle)
        turn = about @ turn
    return replace(cloud, points=cloud.points @ turn.T.astype(np.float32)).remeasured(cloud)


@register_shift("dropout_global")
def dropout_global(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Leaves out 25 to 75 % of the points, drawn from all of them."""
    kept = max(1, round(len(cloud) * (1 - DROPPED[level])))
    return cloud.only(np.sort(rng.permutation(len(cloud))[:kept]))


@register_shift("dropout_local")
def dropout_local(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Cuts one to seven holes: 100 to 500 of 1,024 points, each hole about a point that is still there."""
    left = np.arange(len(cloud))
    for size in _clusters(100 * (level + 1), len(cloud), rng):
        center = cloud.points[left[rng.integers(len(left))]]
        distance = np.square(cloud.points[left] - center).sum(axis=1)
        left = np.sort(left[np.argpartition(distance, size - 1)[size:]]) if size else left
    return cloud.only(left)


@register_shift("add_global")
def add_global(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Adds 10 to 50 points per 1,024 without a color, drawn evenly from the unit ball."""
    count = round(10 * (level + 1) * len(cloud) / COUNTED_POINTS)
    ways = rng.standard_normal((count, 3))
    ways *= np.cbrt(rng.random((count, 1))) / np.linalg.norm(ways, axis=1, keepdims=True)
    return cloud.mixed_with(ways, np.full((count, 3), MISSING_COLOR, np.uint8), rng)


@register_shift("add_local")
def add_local(cloud: Cloud, rng: np.random.Generator, level: int = DEFAULT_LEVEL) -> Cloud:
    """Adds 100 to 500 points per 1,024 about one to seven points of the cloud, in their colors.

    Each cluster is Gaussian with σ from 0.075 to 0.125; points beyond the unit sphere are put onto it.
    """
    sizes = _clusters(100 * (level + 1), len(cloud), rng)
    center = rng.integers(len(cloud), size=len(sizes)).repeat(sizes)
    sigma = rng.uniform(*CLUSTER_RADIUS, len(sizes)).repeat(sizes)
    points = cloud.points[center] + sigma[:, None] * rng.standard_normal((len(center), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True).clip(min=1)
    return cloud.mixed_with(points, cloud.colors[center], rng)


def _clusters(count: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of points of one to seven clusters, ``count`` per 1,024 of ``points`` together."""
    clusters = int(rng.integers(1, MOST_CLUSTERS + 1))
    return rng.multinomial(round(count * points / COUNTED_POINTS), np.full(clusters, 1 / clusters))
