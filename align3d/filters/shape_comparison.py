"""Comparison of two point clouds of about one shape: are they two samples of the same surface?

The clouds are brought together by a turn about the up axis and a small shift. Then the distances of the
points of each to the nearest of the other are held against those to the nearest of their own cloud: for two
samples of one surface both are alike, however dense the samples are. With colors the distances are those in
space and color together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from align3d.filters.shape_hash import ANGLES, Floats

COLOR_SCALE = 0.5
"""Distance of black and white along one channel, in root mean square radii."""
_PEAKS, _STEPS = 4, 3
_FEW, _SOME = 192, 512
"""Points by which a turn is chosen, and by which it is refined and a first look taken."""
_AS_GOOD = 1.1
"""How much worse the squared distances of a turn may be that is named before another."""
_USUAL, _FAR = 0.98, 1.5
"""Share of a cloud's own distances that are usual; how far beyond 0.99 of them a point is out of place."""


class Likeness(NamedTuple):
    """Measures of how far two clouds are from two samples of one surface.

    Attributes:
        distance: Mean distance to the other cloud over that within the own, the larger of both ways; 1 for
            the same surface.
        beyond: Share of points farther from the other cloud than 0.98 of the points are from their own;
            0.02 for the same surface.
        apart: Share of points that are half as far again as 0.99 of the points of both are from their own; 0
            for the same surface. A part that one of them lacks is here, if it has the area of some points.
        turn: Angle by which the second was turned, in radians.
    """

    distance: float
    beyond: float
    apart: float
    turn: float


def best_turns(differences: NDArray[np.float32]) -> Floats:
    """Angles in radians of the deepest minima of `shape_hash.differences` of one shape, f32[ANGLES]."""
    around = np.stack([np.roll(differences, 1), np.roll(differences, -1)])
    lowest = np.flatnonzero((differences <= around[0]) & (differences <= around[1]))
    lowest = lowest[np.argsort(differences[lowest], kind="stable")][:_PEAKS]
    return lowest * (2 * np.pi / ANGLES)


def compare(
    one: Floats, other: Floats, turns: Floats, colors: tuple[Floats, Floats] | None, limit: float
) -> Likeness:
    """Compare two standing clouds.

    Args:
        one: Points of the first, [P, 3].
        other: Points of the second, [P, 3].
        turns: Angles at which the second may fit the first; of some that fit alike the first is taken.
        colors: Colors of both in 0..1, [P, 3] each; None if they do not matter.
        limit: Distance above which they are different: a first look at some of the points ends there.
    """
    tints: tuple[Floats, Floats] = (np.empty((len(one), 0)), np.empty((len(other), 0)))
    if colors is not None:
        tints = (COLOR_SCALE * colors[0], COLOR_SCALE * colors[1])
    turn, shift = _fit(one, other, tints, turns)
    first = np.hstack([one, tints[0]]).astype(np.float64)
    second = np.hstack([_turned(other, turn) + shift, tints[1]]).astype(np.float64)
    if len(first) > 2 * _SOME:
        # As many points have fewer to say: what is far beyond the limit here is beyond it at a closer look.
        likeness = _likeness(first[:_SOME], second[:_SOME], turn)
        if likeness.distance > 1 + 3 * (limit - 1):
            return likeness
    return _likeness(first, second, turn)


def _fit(one: Floats, other: Floats, tints: tuple[Floats, Floats], turns: Floats) -> tuple[float, Floats]:
    """Turn about the up axis and shift that bring the second cloud to the first: iterated closest points."""
    joint = cKDTree(np.hstack([one, tints[0]]))
    some, tint = other[:_SOME], tints[1][:_SOME]
    few, few_tints = some[:_FEW], tint[:_FEW]
    errors = np.array(
        [np.square(joint.query(np.hstack([_turned(few, turn), few_tints]))[0]).mean() for turn in turns]
    )
    turn, shift = float(turns[int(np.argmax(errors <= _AS_GOOD * errors.min()))]), np.zeros(3)
    for _ in range(_STEPS):
        moved = _turned(some, turn) + shift
        nearest = one[joint.query(np.hstack([moved, tint]))[1]]
        a, b = moved - moved.mean(axis=0), nearest - nearest.mean(axis=0)
        turn += float(np.arctan2(np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), np.sum(a[:, :2] * b[:, :2])))
        shift = nearest.mean(axis=0) - _turned(some, turn).mean(axis=0)
    return turn, shift


def _likeness(one: Floats, other: Floats, turn: float) -> Likeness:
    trees = cKDTree(one), cKDTree(other)
    own = [tree.query(points, 2)[0][:, 1] for tree, points in zip(trees, (one, other), strict=True)]
    across = [trees[1].query(one)[0], trees[0].query(other)[0]]
    usual = max(np.quantile(distances, _USUAL) for distances in own)
    far = _FAR * np.quantile(np.concatenate(own), 0.99)
    return Likeness(
        distance=max(float(a.mean() / max(b.mean(), 1e-9)) for a, b in zip(across, own, strict=True)),
        beyond=max(float(np.mean(a > usual)) for a in across),
        apart=max(float(np.mean(a > far)) for a in across),
        turn=turn,
    )


def _turned(points: Floats, angle: float) -> Floats:
    """Points [n, 3] turned counterclockwise about z."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)
