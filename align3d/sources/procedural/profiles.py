"""Profiles of turned bodies: rows of (radius, height) with ascending heights, smooth or cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from align3d.sources.procedural.primitives import Floats, bezier


def smooth(knots: Sequence[tuple[float, float]], *, segments: int = 24) -> Floats:
    """A smooth profile through (height, radius) knots by cubic Hermite pieces: f64[segments + 1, 2]."""
    z, radius = np.array(knots, dtype=np.float64).T
    slope = np.gradient(radius, z, edge_order=2 if len(z) > 2 else 1)
    at = np.linspace(z[0], z[-1], segments + 1)
    left = np.clip(np.searchsorted(z, at, side="right") - 1, 0, len(z) - 2)
    width = z[left + 1] - z[left]
    t = (at - z[left]) / width
    value = (
        (1 + 2 * t) * (1 - t) ** 2 * radius[left]
        + t * (1 - t) ** 2 * width * slope[left]
        + t**2 * (3 - 2 * t) * radius[left + 1]
        - t**2 * (1 - t) * width * slope[left + 1]
    )
    return np.column_stack([np.maximum(value, 1e-4), at])


def radius_at(profile: Floats, height: float) -> float:
    """Radius of a profile at a height."""
    return float(np.interp(height, profile[:, 1], profile[:, 0]))


def between(profile: Floats, low: float, high: float) -> Floats:
    """The piece of a profile between two heights: f64[M, 2]."""
    inner = profile[(profile[:, 1] > low) & (profile[:, 1] < high)]
    return np.concatenate([[(radius_at(profile, low), low)], inner, [(radius_at(profile, high), high)]])


def gaps(start: float, end: float, taken: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Rest of the interval from ``start`` to ``end`` beside the intervals that are taken."""
    left: list[tuple[float, float]] = []
    for low, high in sorted(taken):
        if low > start:
            left.append((start, min(low, end)))
        start = max(start, high)
    if start < end:
        left.append((start, end))
    return left


def loop(profile: Floats, low: float, high: float, reach: float) -> Floats:
    """Path of a C-shaped handle on the +x side of a profile, from one height to another: f64[25, 3]."""
    r_low, r_high = radius_at(profile, low), radius_at(profile, high)
    out = max(r_low, r_high) + reach * 1.25
    return bezier([(r_high * 0.99, 0, high), (out, 0, high), (out, 0, low), (r_low * 0.99, 0, low)])


def spaced(count: int, middle: float, pitch: float, width: float) -> list[tuple[float, float]]:
    """``count`` intervals of the same width around a middle, their centers a pitch apart."""
    centers = middle + (np.arange(count) - (count - 1) / 2) * pitch
    return [(center - width / 2, center + width / 2) for center in centers.tolist()]
