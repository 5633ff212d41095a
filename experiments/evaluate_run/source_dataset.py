"""Dataset of the source that ``data=`` names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align3d.dataset import ShapeDataset
from align3d.errors import DataError, UserError
from align3d.pipeline import load_or_build
from experiments.evaluate_run.evaluate_options import Asked
from experiments.settings.schema import DataConfig


def named_dataset(
    asked: Asked, config: DataConfig, cache: Path, points: int, further: Mapping[str, Any]
) -> ShapeDataset:
    """The dataset of ``data=``.

    Args:
        asked: Settings of the command.
        config: Its seed and workers count where the command line names none.
        cache: Folder of datasets.
        points: Points of a shape.
        further: Settings of the source besides those of the command line.

    Raises:
        UserError: There is no such source, or it has nothing to read.
    """
    settings = {"seed": config.seed, "workers": config.workers, **asked.other, **further}
    label = f"data={asked.data}"
    try:
        return load_or_build(str(asked.data), cache=cache, points=points, **settings)
    except DataError as error:
        told = str(error)
        raise UserError(told if told.startswith(label) else f"{label}: {told}") from error
