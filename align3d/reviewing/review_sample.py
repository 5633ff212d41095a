"""Sample of a dataset that is reviewed: the same shapes in the same order for every reviewer."""

from __future__ import annotations

import hashlib
import math

from align3d.dataset import ShapeDataset


def review_sample(dataset: ShapeDataset, share: float, seed: int = 0) -> list[int]:
    """Rows to review, in their order: the first by the hash of dataset, seed and id.

    A larger share begins with the same shapes. Another dataset, such as one that was built with the decisions
    of a first review, has another sample.

    Args:
        dataset: What is reviewed.
        share: Share of its shapes, above 0 and at most 1; one shape at least.
        seed: Another seed gives another sample.
    """
    ids = dataset.ids

    def rank(row: int) -> bytes:
        name = f"{dataset.hash}\0{seed}\0{ids[row]}"
        return hashlib.sha256(name.encode(errors="surrogatepass")).digest()

    count = max(1, math.ceil(len(ids) * share - 1e-9))
    return sorted(range(len(ids)), key=rank)[:count]
