"""Ids, captions and categories of the shapes whose embeddings another model has made, and their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.pipeline import default_cache
from experiments.evaluate_run.evaluate_options import Asked
from experiments.evaluate_run.source_dataset import named_dataset
from experiments.settings.schema import DataConfig
from experiments.shape_search.outside_vectors import OutsideVectors

if TYPE_CHECKING:
    from experiments.data.corpus import Corpus

TEST, TRAIN, REWARD = "test", "train", "reward"
SPLITS = (TEST, TRAIN, REWARD)


@dataclass(frozen=True)
class LabeledShapes:
    """What is known of ``N`` shapes.

    Attributes:
        name: Of the data.
        variant: What is evaluated, in words.
        hash: Of the data; empty where there is none.
        up_axis: Axis that points up; empty where nobody knows.
        ids: N.
        categories: N; blank without one.
        captions: Of each shape, which may be none.
        splits: Rows by the name of the split: test is evaluated, train known, strengths are chosen on reward.
    """

    name: str
    variant: str
    hash: str
    up_axis: str
    ids: Sequence[str]
    categories: Sequence[str]
    captions: Sequence[Sequence[str]]
    splits: dict[str, NDArray[np.int64]]


def of_table(outside: OutsideVectors, name: str) -> LabeledShapes:
    """The shapes of a file of embeddings, by the table beside it; without a column split all are evaluated.

    Raises:
        UserError: A split is none, or no shape is to be evaluated.
    """
    own = [split.strip() or TEST for split in outside.texts["split"]]
    if wrong := sorted(set(own) - set(SPLITS)):
        raise UserError(f"{name}: split {wrong[0]!r}; expected {', '.join(SPLITS)}")
    splits = {split: np.flatnonzero(np.array(own) == split) for split in SPLITS}
    if len(splits[TEST]) < 2:
        raise UserError(f"{name}: {len(splits[TEST])} shapes of split test; expected at least two")
    captions = [[caption] if caption.strip() else [] for caption in outside.texts["caption"]]
    variant = f"{'shapes' if len(splits[TEST]) == len(own) else 'test shapes'} of {name}"
    return LabeledShapes(name, variant, "", "", outside.ids, outside.texts["category"], captions, splits)


def of_data(asked: Asked) -> LabeledShapes:
    """All shapes of ``data=``."""
    config = DataConfig(str(asked.data), {})
    dataset = named_dataset(asked, config, default_cache(), config.points, asked.sets[0])
    splits = {split: np.empty(0, np.int64) for split in SPLITS} | {TEST: np.arange(len(dataset))}
    return _of_dataset(dataset, f"all shapes of {dataset.name}", splits)


def of_run(corpus: Corpus) -> LabeledShapes:
    """The shapes of a run in its own splits."""
    splits = {split: corpus.splits[split].numpy() for split in SPLITS}
    return _of_dataset(corpus.dataset, f"test split of {corpus.dataset.name}", splits)


def _of_dataset(dataset: ShapeDataset, variant: str, splits: dict[str, NDArray[np.int64]]) -> LabeledShapes:
    return LabeledShapes(
        dataset.name,
        variant,
        dataset.hash,
        dataset.up_axis,
        dataset.ids,
        dataset.categories,
        dataset.captions,
        splits,
    )
