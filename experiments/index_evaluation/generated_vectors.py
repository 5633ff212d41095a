"""Embeddings of generated shapes as distractors, any number of them, kept in files and read in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from align3d.captions import normalize_caption
from align3d.console.terminal import say
from align3d.errors import UserError
from align3d.record import Record
from align3d.sources import Source, make_source, setting_names, source_class
from experiments.index_evaluation.generated_gallery import (
    PIECE,
    encoded_records,
    key_of,
    notes_of,
    pieces_of,
)
from experiments.settings.schema import RunConfig

if TYPE_CHECKING:
    from experiments.index_evaluation.load_run import Trained

MAKES_SHAPES = "procedural"
"""Source of distractors for a run whose own source has a fixed stock of shapes."""
UP = "z"
"""Axis that points up in it."""
SPARE = 0.05
"""Share of shapes that is made beyond those that are wanted, as some of them answer a caption."""


class Joined:
    """Vectors ``[N, D]`` that lie in several places, read where they are sliced.

    Args:
        parts: Arrays ``[n, D]``, or what has their length and gives slices as they do.
        width: ``D``.

    Attributes:
        shape: ``(N, D)``.
    """

    def __init__(self, parts: Sequence[NDArray[np.floating] | GeneratedPiece], width: int) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = np.cumsum([len(part) for part in self._parts], dtype=np.int64)
        self.shape = (int(self._ends[-1]) if self._parts else 0, width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Rows ``[n, D]`` of a slice without steps."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"{rows}: expected a slice without steps")
        found = [np.empty((0, self.shape[1]), np.float32)]
        for part, end in zip(self._parts, self._ends.tolist(), strict=True):
            begin = end - len(part)
            if start < end and stop > begin:
                some = part[max(0, start - begin) : min(len(part), stop - begin)]
                found.append(np.asarray(some, np.float32))
        return np.concatenate(found)


class GeneratedPiece:
    """Embeddings of a file of generated shapes, without those that answer a caption.

    Args:
        path: The file.
        kept: ``[n]`` rows that count.
    """

    def __init__(self, path: Path, kept: NDArray[np.int64]) -> None:
        self._path, self._kept = path, kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, rows: slice) -> NDArray[np.float16]:
        with safe_open(self._path, framework="np") as file:
            found: NDArray[np.float16] = file.get_tensor("embedding")[self._kept[rows]]
        return found


def joined(*parts: NDArray[np.floating] | Joined) -> NDArray[np.floating]:
    """Arrays and joined vectors one behind the other, to be sliced like an array."""
    width = next((int(part.shape[1]) for part in parts if len(part)), 0)
    return Joined(parts, width)  # type: ignore[arg-type, return-value]


def generated_vectors(
    trained: Trained, count: int, captions: Collection[str], hashes: Collection[str], device: torch.device
) -> Joined:
    """Embeddings of at most ``count`` generated shapes that answer none of the captions.

    They are made by the run's own source with the next seed where it makes shapes, else by ``procedural``.
    Their embeddings are kept beside the run in half precision, what was cut off goes on, and only the piece
    that is read is in memory.

    Args:
        trained: The run whose model encodes.
        count: Shapes that are wanted.
        captions: Normal forms of the captions that ask; a shape that has one of these is left out.
        hashes: Content of shapes that are in the gallery already, likewise.
        device: Where the model is.

    Raises:
        UserError: Another axis points up in the run's data.
    """
    source = maker_of(trained.config, count + max(PIECE // 8, round(SPARE * count)))
    if source.name == MAKES_SHAPES and trained.corpus.dataset.up_axis != UP:
        raise UserError(
            f"sizes: distractors of {MAKES_SHAPES} have {UP} up, data={trained.config.data.name} has "
            f"{trained.corpus.dataset.up_axis}; give sizes= of the shapes that are there, or generate=false"
        )
    key = hashlib.sha256(key_of(trained, source).encode()).hexdigest()[:16]
    folder = trained.folder / "retrieval" / f"distractors-{key}"
    parts: list[GeneratedPiece] = []
    left, answers = count, 0
    for path in pieces_of(trained, source, folder, _embeddings, device):
        notes = notes_of(path)
        free = [
            own not in hashes and not any(normalize_caption(caption) in captions for caption in texts)
            for own, texts in zip(notes["hashes"], notes["captions"], strict=True)
        ]
        kept = np.flatnonzero(free)
        answers += len(free) - len(kept)
        parts.append(GeneratedPiece(path, kept[:left]))
        left -= len(parts[-1])
    if answers:
        say(f"distractors: {answers:,} generated shapes left out, as they answer a caption", error=True)
    return Joined(parts, trained.config.model.embedding)


def maker_of(config: RunConfig, size: int) -> Source:
    """A source that makes so many shapes, with the seed after the run's."""
    data = config.data
    if {"size", "seed"} <= set(setting_names(source_class(data.name))):
        return make_source(data.name, **{**data.settings, "size": size, "seed": data.seed + 1})
    return make_source(MAKES_SHAPES, size=size, seed=data.seed + 1)


def _embeddings(trained: Trained, records: list[Record], device: torch.device) -> dict[str, torch.Tensor]:
    return {"embedding": encoded_records(trained, records, device).embedding.half().cpu()}
