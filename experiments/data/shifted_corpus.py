"""Corpora whose shapes are shifted: without color, cut, jittered, in a wrong unit (`align3d.shifts`).

A shape is shifted once, by ``data.seed`` and its content, so that every run meets the same shifted shapes;
they are prepared like all shapes and kept in the cache beside them.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from align3d.pipeline import default_cache
from align3d.shifts import CLEAN, ShiftedDataset, parse_shift
from experiments.data.corpus import Corpus, prepared_shapes
from experiments.settings.schema import RunConfig
from models import ShapeBatch


def shifted_shapes(corpus: Corpus, indices: Tensor, shift: str, config: RunConfig) -> ShapeBatch:
    """The shapes at ``indices`` ``[M]`` under a shift, prepared: batch ``[M]``.

    Args:
        corpus: The data.
        indices: Shapes of the corpus.
        shift: Name of a shift, with its level or without: ``"jitter:3"``.
        config: The run's settings: of the model, the data's seed and the cache.

    Raises:
        UserError: No such shift, or clouds with too few points for the model.
    """
    dataset = _shifted_dataset(corpus, indices, shift, config)
    cache = (config.cache or default_cache()).expanduser() / "shapes"
    return prepared_shapes(dataset, config.model, cache, indices)


def shifted_corpus(corpus: Corpus, indices: Tensor, shift: str, config: RunConfig) -> Corpus:
    """The corpus with the shapes at ``indices`` ``[M]`` shifted: points, colors, parts and sizes.

    All else is as it was: other shapes, captions, what is a caption of what, splits. Under ``"clean"`` it is
    the corpus itself.

    Args:
        corpus: The data.
        indices: Shapes of the corpus, such as those of a split.
        shift: Name of a shift, with its level or without: ``"jitter:3"``.
        config: The run's settings: of the model, the data's seed and the cache.

    Raises:
        UserError: No such shift, or clouds with too few points for the model.
    """
    if shift == CLEAN:
        return corpus
    shapes = corpus.shapes.clone()
    shapes[indices] = shifted_shapes(corpus, indices, shift, config)
    return dataclasses.replace(
        corpus, dataset=_shifted_dataset(corpus, indices, shift, config), shapes=shapes
    )


def _shifted_dataset(corpus: Corpus, indices: Tensor, shift: str, config: RunConfig) -> ShiftedDataset:
    return ShiftedDataset(corpus.dataset, parse_shift(shift), config.data.seed, indices.numpy())
