"""Sampling and neighbors against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import geometry


def brute_force_farthest(cloud: np.ndarray, count: int) -> list[int]:
    chosen = [0]
    while len(chosen) < count:
        distance = np.linalg.norm(cloud[:, None] - cloud[chosen], axis=-1).min(1)
        chosen.append(int(distance.argmax()))
    return chosen


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), points=st.integers(9, 300), count=st.integers(1, 9))
def test_farthest_points_equal_brute_force(seed: int, points: int, count: int) -> None:
    xyz = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, points, 3)).astype(np.float32))
    chosen = geometry.farthest_points(xyz, count)
    assert chosen.tolist() == [brute_force_farthest(cloud, count) for cloud in xyz.numpy()]


def test_backends_agree() -> None:
    xyz = torch.rand(3, 500, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(geometry.farthest_points(xyz, 32), geometry._farthest_points_torch(xyz, 32))


def test_nearest_is_sorted_and_right() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, xyz = torch.rand(2, 7, 3, generator=generator), torch.rand(2, 90, 3, generator=generator)
    found = geometry.nearest(queries, xyz, 5)
    distance = (queries.unsqueeze(2) - xyz.unsqueeze(1)).norm(dim=-1)
    assert torch.equal(found, distance.sort(dim=-1, stable=True).indices[..., :5])
    assert torch.equal(geometry.nearest(queries, xyz, 1)[..., 0], found[..., 0])


@pytest.mark.parametrize("count", [0, 11])
def test_impossible_counts_are_refused(count: int) -> None:
    xyz = torch.rand(1, 10, 3)
    with pytest.raises(ValueError, match=f"count={count}: expected 1..10"):
        geometry.farthest_points(xyz, count)
    with pytest.raises(ValueError, match=f"count={count}: expected 1..10"):
        geometry.nearest(xyz, xyz, count)
