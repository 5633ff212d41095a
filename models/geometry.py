"""Farthest-point sampling and nearest neighbors, one function each whatever does the work.

PyTorch3D's kernels are used for CUDA tensors where that package is installed, ``fpsample`` on the CPU, and
plain PyTorch elsewhere. All of them start from point 0 and give equal indices (up to exact ties in distance).
"""

from __future__ import annotations

import fpsample
import numpy as np
import torch
from torch import Tensor

try:  # an optional accelerator: it has no wheel for most Python versions
    from pytorch3d import ops as pytorch3d_ops
except ImportError:
    pytorch3d_ops = None


def farthest_points(xyz: Tensor, count: int) -> Tensor:
    """Chooses points that are far from each other, greedily, beginning with point 0.

    Args:
        xyz: ``[B, P, 3]`` float.
        count: How many points to choose; at most ``P``.

    Returns:
        ``[B, count]`` int64 indices into ``P``, in the order of choice.

    Raises:
        ValueError: If ``count`` is not in ``1..P``.
    """
    points = xyz.shape[1]
    if not 1 <= count <= points:
        raise ValueError(f"count={count}: expected 1..{points}, the number of points of each cloud")
    if xyz.is_cuda and pytorch3d_ops is not None:
        return pytorch3d_ops.sample_farthest_points(xyz.float(), K=count)[1]
    if xyz.is_cuda:
        return _farthest_points_torch(xyz, count)
    # fpsample's bucket variants are faster still, but ignore start_idx and choose anew each time
    clouds = xyz.detach().float().numpy()
    chosen = [fpsample.fps_sampling(cloud, count, start_idx=0) for cloud in clouds]
    return (
        torch.from_numpy(np.stack(chosen).astype(np.int64))
        if chosen
        else torch.empty(0, count, dtype=torch.int64)
    )


def _farthest_points_torch(xyz: Tensor, count: int) -> Tensor:
    batch, points, _ = xyz.shape
    xyz = xyz.float()
    chosen = torch.zeros(batch, count, dtype=torch.int64, device=xyz.device)
    distance = torch.full((batch, points), torch.inf, device=xyz.device)
    rows = torch.arange(batch, device=xyz.device)
    for i in range(1, count):
        last = xyz[rows, chosen[:, i - 1]].unsqueeze(1)  # [B, 1, 3]
        distance = torch.minimum(distance, (xyz - last).square().sum(-1))
        chosen[:, i] = distance.argmax(-1)
    return chosen


def nearest(queries: Tensor, xyz: Tensor, count: int) -> Tensor:
    """Finds the nearest points of a cloud, nearest first.

    Args:
        queries: ``[B, Q, 3]`` float.
        xyz: ``[B, P, 3]`` float.
        count: Neighbors per query; at most ``P``.

    Returns:
        ``[B, Q, count]`` int64 indices into ``P``.

    Raises:
        ValueError: If ``count`` is not in ``1..P``.
    """
    if not 1 <= count <= xyz.shape[1]:
        raise ValueError(f"count={count}: expected 1..{xyz.shape[1]}, the number of points of each cloud")
    if xyz.is_cuda and pytorch3d_ops is not None:
        return pytorch3d_ops.knn_points(queries.float(), xyz.float(), K=count).idx
    distance = torch.cdist(queries.float(), xyz.float(), compute_mode="donot_use_mm_for_euclid_dist")
    if count == 1:
        return distance.argmin(-1, keepdim=True)
    return distance.topk(count, dim=-1, largest=False, sorted=True).indices
