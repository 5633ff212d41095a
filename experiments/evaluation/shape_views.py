"""Views of a shape: the directions from which it is drawn, and where its points then lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

View = tuple[float, float]

#: Directions from which a shape is drawn: (turn about the up axis, height), in degrees; and their names.
VIEWS: tuple[View, View] = ((30.0, 25.0), (-60.0, 15.0))
VIEW_NAMES = ("one side", "a quarter turn on")


def upright(points: Tensor, up_axis: str) -> Tensor:
    """Turns the up axis to z: ``[P, 3]``."""
    up = "xyz".index(up_axis)
    return points[:, [(up + 1) % 3, (up + 2) % 3, up]]


def project(points: Tensor, turn: float, height: float) -> tuple[Tensor, Tensor]:
    """Orthographic view: ``[P, 2]`` places in the picture and ``[P]`` depth, nearer is larger."""
    a, e = np.deg2rad(turn), np.deg2rad(height)
    right = torch.tensor([-np.sin(a), np.cos(a), 0.0], dtype=points.dtype)
    ahead = torch.tensor([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], dtype=points.dtype)
    above = torch.linalg.cross(ahead, right)
    return torch.stack([points @ right, points @ above], dim=1), points @ ahead
