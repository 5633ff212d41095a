"""Figures of a dataset: what its datasheet says of it, counted from its columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align3d.captions import normalize_caption
from align3d.dataset import ShapeDataset
from align3d.record import MISSING_COLOR

_AT_ONCE = 512
"""Shapes whose points are looked at together, so that memory does not grow with the dataset."""


@dataclass(frozen=True)
class DatasetFacts:
    """Counts of a dataset; ``n`` is its number of shapes.

    Attributes:
        sources: Shapes by source.
        licenses: Shapes by license.
        categories: Shapes by category.
        captions_per_shape: Shapes by their number of captions.
        caption_words: Captions by their number of words.
        shared_captions: Normal forms of captions that several shapes have.
        part_names: Shapes by a name of a part that they have.
        shapes_with_parts: Shapes some of whose points have a part.
        shapes_without_color: Shapes all of whose points have the gray of a missing color.
        same_content: Shapes whose content an earlier shape has too.
        size_m: Bounding boxes in meters, f32[n, 3].
    """

    sources: Counter[str]
    licenses: Counter[str]
    categories: Counter[str]
    captions_per_shape: Counter[int]
    caption_words: Counter[int]
    shared_captions: int
    part_names: Counter[str]
    shapes_with_parts: int
    shapes_without_color: int
    same_content: int
    size_m: NDArray[np.float32]

    @property
    def captions(self) -> int:
        """Number of captions."""
        return self.caption_words.total()


def count_facts(dataset: ShapeDataset) -> DatasetFacts:
    """Count what a dataset holds; its points are read once."""
    owners: Counter[str] = Counter()
    for captions in dataset.captions:
        owners.update({normalize_caption(caption) for caption in captions})
    with_parts = gray = 0
    for start in range(0, len(dataset), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        with_parts += int((dataset.part(rows) >= 0).any(axis=1).sum())
        gray += int((dataset.colors(rows) == MISSING_COLOR).all(axis=(1, 2)).sum())
    return DatasetFacts(
        sources=Counter(dataset.sources),
        licenses=Counter(dataset.licenses),
        categories=Counter(dataset.categories),
        captions_per_shape=Counter(map(len, dataset.captions)),
        caption_words=Counter(len(caption.split()) for own in dataset.captions for caption in own),
        shared_captions=sum(count > 1 for count in owners.values()),
        part_names=Counter(name for names in dataset.part_names for name in dict.fromkeys(names)),
        shapes_with_parts=with_parts,
        shapes_without_color=gray,
        same_content=len(dataset) - len(set(dataset.content_hashes)),
        size_m=dataset.size_m(slice(None)),
    )
