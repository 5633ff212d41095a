"""Splits into training, reward and test by content, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError

#: Changing the salt deals all shapes anew; it is part of every published number.
SALT = "align3d-split-1"


def split_indices(
    content_hashes: Sequence[str], test: int | float, reward: int | float
) -> dict[str, NDArray[np.int64]]:
    """Deal shapes to ``train``, ``reward`` and ``test``, ranked by the hash of salt and content hash.

    The first in rank are tested on, the next give the reward, the rest train. Shapes of equal content go
    together: where they do not all fit into what is left of a split, they go to the next one that has room,
    so that the counts come out as asked for.

    Args:
        content_hashes: Content hash of each shape.
        test: Number of shapes to test on (int), or their share of all shapes (float).
        reward: Number or share of shapes for the external reward.

    Returns:
        Sorted i64 indices of each split; together they are all shapes, each once.

    Raises:
        DataError: A negative number, a share of 1 or more, or no shape left to train on.
    """
    total = len(content_hashes)
    wanted_test, wanted_reward = _count("test", test, total), _count("reward", reward, total)
    if wanted_test + wanted_reward >= total:
        raise DataError(
            f"splits: test={wanted_test} and reward={wanted_reward} leave nothing to train on "
            f"of {total} shapes; ask for fewer, or build a larger dataset"
        )
    groups: dict[str, list[int]] = {}
    for index, content_hash in enumerate(content_hashes):
        groups.setdefault(content_hash, []).append(index)
    room = {"test": wanted_test, "reward": wanted_reward}
    splits: dict[str, list[int]] = {"train": [], "reward": [], "test": []}
    for content_hash in sorted(groups, key=_rank):
        group = groups[content_hash]
        home = next((name for name, left in room.items() if len(group) <= left), "train")
        splits[home].extend(group)
        if home in room:
            room[home] -= len(group)
    if not splits["train"]:
        raise DataError(
            "splits: shapes of equal content leave nothing to train on; ask for a smaller test split"
        )
    return {name: np.array(sorted(indices), dtype=np.int64) for name, indices in splits.items()}


def _rank(content_hash: str) -> str:
    return hashlib.sha256(f"{SALT}{content_hash}".encode()).hexdigest()


def _count(name: str, size: int | float, total: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
        raise DataError(f"splits: {name}={size!r}, expected a count (int) or a share (float)")
    if isinstance(size, int | np.integer):
        if size < 0:
            raise DataError(f"splits: {name}={size}, expected a count from 0")
        return int(size)
    if not 0.0 <= size < 1.0:
        raise DataError(
            f"splits: {name}={size}, expected a share from 0 and below 1, or a whole number as a count"
        )
    return round(float(size) * total)
