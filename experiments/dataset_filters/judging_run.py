"""A finished run that judges shapes and captions of a dataset: its own or any other."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from align3d.console.progress import Tracker
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.pipeline import default_cache
from experiments.console import process
from experiments.data.corpus import Corpus, encoded_corpus
from experiments.data.encoding import CHUNK, frozen
from experiments.evaluate_run.evaluated_shapes import encoder_of
from experiments.index_evaluation.load_run import Trained, open_run
from experiments.run_folder.checkpoint import fingerprint
from experiments.run_folder.finished_run import check_run
from models import prepare_shapes


class JudgingRun:
    """A run that is opened when it is first asked.

    Args:
        folder: The run's folder.
        setting: Setting that names it, for messages.
    """

    def __init__(self, folder: Path, setting: str) -> None:
        self.folder, self.setting = Path(folder).expanduser(), setting

    def fingerprint(self) -> str:
        """Hash of the checkpoint.

        Raises:
            UserError: There is no finished run.
        """
        return fingerprint(check_run(self.folder))

    @cached_property
    def device(self) -> torch.device:
        """Where the model is."""
        return process.pick_device("auto")

    @cached_property
    def trained(self) -> Trained:
        """The run, opened; no setting of its own is followed elsewhere."""
        return open_run(self.folder, self.device)

    def corpus(self, dataset: ShapeDataset) -> Corpus:
        """A dataset's shapes and captions, prepared for the model."""
        self._check(dataset)
        config = self.trained.config
        encoder = encoder_of(self.trained, self.device)
        every = {"test": torch.arange(len(dataset))}
        cache = (config.cache or default_cache()).expanduser()
        return encoded_corpus(dataset, every, encoder, config.model, cache, "encoding captions")

    def embeddings(self, dataset: ShapeDataset, rows: Tensor, *, progress: bool) -> Tensor:
        """Embeddings ``[n, E]`` of the shapes at ``rows`` ``[n]``, of unit length."""
        self._check(dataset)
        model, config = self.trained.model, self.trained.config.model
        parts = []
        with (
            frozen(model),
            Tracker("embedding shapes", len(rows), "shapes", patience=2.0, enabled=progress) as tracker,
        ):
            for piece in rows.split(CHUNK):
                some = piece.numpy()
                columns = (dataset.points(some), dataset.colors(some), dataset.size_m(some))
                points, colors, sizes = (torch.from_numpy(column) for column in columns)
                shapes = prepare_shapes(points, colors, sizes, config)
                parts.append(model.encode_shapes(shapes.to(self.device)).embedding.float().cpu())
                tracker.advance(len(piece))
        return torch.cat(parts)

    def _check(self, dataset: ShapeDataset) -> None:
        own = self.trained.corpus.dataset
        if dataset.up_axis != own.up_axis:
            raise UserError(
                f"{self.setting}={self.folder}: {own.up_axis} points up in the run's data, "
                f"{dataset.up_axis} in {dataset.name}; filter shapes that are turned as the run's are"
            )
        if dataset.num_points < self.trained.config.model.points:
            raise UserError(
                f"{self.setting}={self.folder}: the run sees {self.trained.config.model.points} points of a "
                f"shape, {dataset.name} has {dataset.num_points}; build it with points="
                f"{self.trained.config.model.points}"
            )
