"""Mentions of parts: the words of a caption that name a part of its shape, and the points of that part.

What grounding is measured on (`experiments.evaluation.grounding`), and what attention may be taught by
(``train.grounding``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from align3d.naming import mentions
from experiments.data.attention_maps import points_of_patches

if TYPE_CHECKING:
    from experiments.data.corpus import Corpus

#: Parts with fewer points are left out: their share of the surface is not known well enough.
LEAST_POINTS = 8
COUNTS = ("shapes", "unlabelled", "unnamed", "captions", "captions_naming")
_SCAN = 64


@dataclass
class Pairs:
    """Places of captions that name a part. ``K`` pairs.

    Attributes:
        shape: ``[K]`` int64, the shape's place among those asked for.
        text: ``[K]`` int64, the caption's number in the corpus.
        words: ``[K, T]`` bool, the words that name the part.
        on_part: ``[K, N_0]`` how many points of each patch are on the part.
        coverage: What was looked through for them: shapes, those without part labels, those without a named
            part; captions of shapes with labels, and how many of them name a part.
    """

    shape: Tensor
    text: Tensor
    words: Tensor
    on_part: Tensor
    coverage: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shape)


def find_pairs(corpus: Corpus, indices: Tensor, shapes: int, draws: torch.Generator) -> Pairs:
    """Looks through shapes in random order until enough of them have a caption that names a part.

    A part that is all of the surface, or has fewer than `LEAST_POINTS` points, cannot be pointed at and is
    left out.

    Args:
        corpus: The data.
        indices: ``[M]`` shapes.
        shapes: How many with a named part; fewer are found where there are no more.
        draws: Decides the order.
    """
    patches, length = corpus.shapes.centers.shape[1], corpus.text.mask.shape[1]
    points = corpus.shapes.patch_of_point.shape[1]
    found: list[tuple[int, int, tuple[int, ...], Tensor]] = []
    count: dict[str, float] = dict.fromkeys(COUNTS, 0)
    order = torch.randperm(len(indices), generator=draws)
    for place, labels in _labels(corpus, indices, order, points):
        if count["shapes"] - count["unlabelled"] - count["unnamed"] >= shapes:
            break
        index = int(indices[place])
        count["shapes"] += 1
        if not corpus.dataset.part_names[index] or not bool((labels >= 0).any()):
            count["unlabelled"] += 1
            continue
        texts = [text for text in corpus.texts_of[index].tolist() if text >= 0]
        own = [(place, text, *pair) for text in texts for pair in _named(corpus, index, text, labels)]
        count["captions"] += len(texts)
        count["captions_naming"] += len({text for _, text, _, _ in own})
        count["unnamed"] += not own
        found += own
    words = torch.zeros(len(found), length, dtype=torch.bool)
    on_part = torch.zeros(len(found), patches)
    for row, (place, _, named, on) in enumerate(found):
        words[row, list(named)] = True
        on_part[row] = points_of_patches(corpus.shapes.patch_of_point[indices[place]].long(), patches, on)
    return Pairs(
        shape=torch.tensor([place for place, _, _, _ in found], dtype=torch.int64),
        text=torch.tensor([text for _, text, _, _ in found], dtype=torch.int64),
        words=words,
        on_part=on_part,
        coverage=count,
    )


def _labels(corpus: Corpus, indices: Tensor, order: Tensor, points: int) -> Iterator[tuple[int, Tensor]]:
    """Each place in ``order`` with its shape's part labels ``[P]``; the model reads the first points."""
    for places in order.split(_SCAN):
        rows = corpus.dataset.part(indices[places].numpy())[:, :points]
        yield from zip(places.tolist(), torch.from_numpy(rows), strict=True)


def _named(corpus: Corpus, index: int, text: int, labels: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The words of a caption that name a part of a shape, and the points ``[P]`` of that part."""
    names, kind = corpus.dataset.part_names[index], corpus.dataset.categories[index]
    for mention in mentions(corpus.text.strings[text], names, kind):
        on_part = torch.isin(labels, torch.tensor(mention.parts, dtype=labels.dtype))
        if LEAST_POINTS <= int(on_part.sum()) < len(labels):
            yield mention.words, on_part


@dataclass
class NamedParts:
    """Pairs of a batch: its ``K`` places of captions that name a part of their shape.

    Attributes:
        rows: ``[K]`` int64, whose caption and shape.
        words: ``[K, T]`` bool, the words that name the part.
        on_part: ``[K, N_0]`` points of each patch that are on it.
        points: ``[K, N_0]`` all points of each patch.
    """

    rows: Tensor
    words: Tensor
    on_part: Tensor
    points: Tensor


class PartLabels:
    """The named parts of a split, to be looked up by batch.

    Args:
        corpus: The data.
        indices: ``[M]`` the split's shapes.
    """

    def __init__(self, corpus: Corpus, indices: Tensor) -> None:
        self._corpus = corpus
        self._pairs = find_pairs(corpus, indices, len(indices), torch.Generator().manual_seed(0))
        keys = self._keys(indices[self._pairs.shape], self._pairs.text)
        self._sorted, self._order = keys.sort(stable=True)

    def of(self, indices: Tensor, texts: Tensor, device: torch.device) -> NamedParts:
        """The pairs of shapes ``[B]`` with captions ``[B]``."""
        keys = self._keys(indices, texts)
        first, last = (torch.searchsorted(self._sorted, keys, right=right) for right in (False, True))
        rows = torch.arange(len(keys)).repeat_interleave(last - first)
        found = self._order[torch.cat([torch.arange(a, b) for a, b in zip(first, last, strict=True)])]
        on_part = self._pairs.on_part[found]
        nearest = self._corpus.shapes.patch_of_point[indices[rows]].long()
        points = points_of_patches(nearest, on_part.shape[1])
        parts = (rows, self._pairs.words[found], on_part, points)
        return NamedParts(*(part.to(device) for part in parts))

    def count(self, indices: Tensor, texts: Tensor) -> int:
        """Number of the pairs of shapes ``[B]`` with captions ``[B]``."""
        keys = self._keys(indices, texts)
        first, last = (torch.searchsorted(self._sorted, keys, right=right) for right in (False, True))
        return int((last - first).sum())

    def _keys(self, indices: Tensor, texts: Tensor) -> Tensor:
        return indices * len(self._corpus.captions) + texts
