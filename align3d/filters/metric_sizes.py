"""Sizes of two shapes in meters: the same, the same but for a mistaken unit, or of the same proportions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Sizes = Literal["same", "unit", "any"]

_UNITS_M = (1.0, 1e-1, 1e-2, 1e-3, 1e-6, 0.0254, 0.3048)
_FACTORS = np.unique(np.round([np.log(a / b) for a in _UNITS_M for b in _UNITS_M], 9))
"""Logarithms of the factors by which a length is wrong that was written in one unit and read in another."""
_ROUGH = 0.04
"""Largest difference of the logarithms of metric radii of two samples of one shape."""
_FLAT = 1e-3
"""Share of a shape's largest extent below which another extent is none."""


def metric_radius(extents: Floats, clouds: Floats) -> Floats:
    """Root mean square radii of shapes in meters, up to some percent.

    Args:
        extents: Extents of the shapes along x, y and up in meters, [n, 3].
        clouds: Their clouds, scaled to a root mean square radius of 1, [n, P, 3].
    """
    sampled = np.ptp(clouds, axis=1)
    # A sample does not reach the ends of its surface: the axis along which it comes nearest counts.
    scales = np.where(sampled > _FLAT, extents / np.maximum(sampled, _FLAT), np.inf)
    return np.min(scales, axis=1)


def may_be(one: Floats, others: Floats, radii: Floats, sizes: Sizes, tolerance: float) -> NDArray[np.bool_]:
    """Whether sizes admit that shapes are the same, however they are turned about the up axis.

    Args:
        one: Extents of a shape along x, y and up, [3].
        others: Those of others, [n, 3].
        radii: Metric radius of the one over those of the others, [n].
        sizes: What is asked of sizes.
        tolerance: Largest difference of logarithms of heights.

    Returns:
        bool[n]. Flat shapes have no height to compare.
    """
    flat, are_flat = _flat(one)[2], _flat(others)[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.log(one[2] / others[:, 2])
    rough = np.log(radii)
    fits = _allowed(heights, sizes, tolerance) & (np.abs(rough - heights) <= _ROUGH)
    return np.asarray(np.where(flat, are_flat & _allowed(rough, sizes, _ROUGH), ~are_flat & fits))


def agree(one: Floats, other: Floats, turn: float, sizes: Sizes, tolerance: float) -> bool:
    """Whether the boxes around two shapes are the same, where the turn between them is a quarter or none.

    Args:
        one: Extents of the first along x, y and up, [3].
        other: Those of the second.
        turn: Angle by which the second was turned about the up axis, in radians; between quarter turns a
            box says nothing about another, and they agree.
        sizes: What is asked of sizes; "any" asks for the same proportions.
        tolerance: Largest difference of logarithms.
    """
    quarters = turn / (np.pi / 2)
    if abs(quarters - round(quarters)) > _NEAR_QUARTER:
        return True
    other = other[[1, 0, 2]] if round(quarters) % 2 else other
    flat = _flat(one)
    if (flat != _flat(other)).any():
        return False
    factors = np.log(one[~flat] / other[~flat])
    return bool(np.ptp(factors) <= tolerance and _allowed(factors, sizes, tolerance).all())


_NEAR_QUARTER = 0.03
"""Share of a quarter turn, 2.7 degrees, that the turn between two boxes may be off."""


def _flat(extents: Floats) -> NDArray[np.bool_]:
    return extents <= _FLAT * extents.max(axis=-1, keepdims=True)


def _allowed(factors: Floats, sizes: Sizes, tolerance: float) -> NDArray[np.bool_]:
    if sizes == "any":
        return np.ones(np.shape(factors), dtype=bool)
    known = np.zeros(1) if sizes == "same" else _FACTORS
    return np.asarray((np.abs(factors[..., None] - known) <= tolerance).any(axis=-1))
