"""Any number of new shapes from a run's source, encoded by its model piece by piece and kept beside the run.

A source that makes its shapes (it has the settings ``size`` and ``seed``, as ``procedural`` has) is asked
with the seed after the run's. Only a piece is in memory at a time, and a piece is a file with its checksum in
its name: what was cut off goes on with the pieces that it lacks, and a damaged one is made anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import models
from align3d.console.progress import Tracker
from align3d.errors import RejectedItem, UserError, settings_of
from align3d.record import Record, check_record
from align3d.sources import Item, Source, make_source, setting_names, source_class
from durable.checksums import find_named, write_named
from experiments.data.corpus import SHAPE_SETTINGS
from experiments.data.encoding import frozen
from experiments.index_evaluation.memory_check import check_memory
from experiments.settings.schema import RunConfig
from models import AlignmentModel, PointHierarchy, prepare_shapes

if TYPE_CHECKING:
    from experiments.index_evaluation.load_run import Trained

    Encode = Callable[[Trained, list[Record], torch.device], dict[str, torch.Tensor]]
    """What is kept of records, by name, one row each."""

PIECE = 2_048
SUFFIX = ".safetensors"
_NOTES = "notes"
"""Name of all that is said of a piece's shapes: safetensors writes several names in any order."""
CHUNK = 128
_MODULES = ("alignment", "fourier", "geometry", "layers", "points", "shapes")
_CODE = tuple(Path(str(models.__file__)).with_name(f"{name}.py") for name in _MODULES)


@dataclass(frozen=True)
class Fresh:
    """``N`` new shapes, encoded.

    Attributes:
        files: One a piece.
        captions: Of each shape, the first one first.
        hashes: Each shape's content hash.
    """

    files: list[Path]
    captions: list[list[str]]
    hashes: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def pieces(self) -> Iterator[PointHierarchy]:
        """The shapes, as far as re-rankers need them: without the places of their nodes."""
        for path in self.files:
            kept = load_file(path)
            count = len(kept["embedding"])
            yield PointHierarchy(
                nodes=kept["nodes"].float(),
                centers=torch.empty(count, 0, 3),
                region=torch.empty(count, 0, dtype=torch.int64),
                extent=kept["extent"],
                spectrum=kept["spectrum"].float(),
                embedding=kept["embedding"],
            )

    def vectors(self) -> NDArray[np.float32]:
        """Their global embeddings ``[N, D]``."""
        found, filled = np.empty((0, 0), np.float32), 0
        for path in self.files:
            with safe_open(path, framework="pt") as file:
                part = file.get_tensor("embedding").numpy()
            if not filled:
                found = np.empty((len(self), part.shape[1]), np.float32)
            found[filled : filled + len(part)] = part
            filled += len(part)
        return found


def new_source(config: RunConfig, size: int) -> Source:
    """The run's source with the next seed: shapes that it was not trained on, but for equal draws.

    Raises:
        UserError: The source has a fixed stock of shapes, or so many do not fit into memory.
    """
    check_memory(size, config.model.embedding)
    data = config.data
    if not {"size", "seed"} <= set(setting_names(source_class(data.name))):
        raise UserError(
            f"gallery=new: data={data.name} has a fixed stock of shapes; take gallery=all, or a run on a "
            "source that makes shapes from a seed, such as procedural"
        )
    return make_source(data.name, **{**data.settings, "size": size, "seed": data.seed + 1})


def fresh_shapes(trained: Trained, count: int, device: torch.device) -> Fresh:
    """Makes and encodes ``count`` new shapes, or finds them beside the run.

    Raises:
        UserError: See `new_source`.
    """
    source = new_source(trained.config, count)
    folder = trained.folder / "retrieval" / f"new-{key_of(trained, source)}"
    files = list(pieces_of(trained, source, folder, _encoded, device))
    notes = [notes_of(path) for path in files]
    return Fresh(
        files,
        [own for piece in notes for own in piece["captions"]],
        [own for piece in notes for own in piece["hashes"]],
    )


def pieces_of(
    trained: Trained, source: Source, folder: Path, encode: Encode, device: torch.device
) -> Iterator[Path]:
    """Files of a source's shapes, `PIECE` each, made where the folder does not have them, under one bar.

    Args:
        trained: The run whose model encodes.
        source: Makes the shapes.
        folder: Of the files; its name changes with all that they depend on, see `key_of`.
        encode: What is kept of records.
        device: Where the model is.
    """
    items = source.items()
    found = [find_named(folder, f"{at // PIECE:05d}", SUFFIX) for at in range(0, len(items), PIECE)]
    done = sum(PIECE for path in found if path is not None)
    with Tracker("making and encoding shapes", len(items), "shapes", done=min(done, len(items))) as tracker:
        for number, kept in enumerate(found):
            piece = items[number * PIECE : (number + 1) * PIECE]
            yield kept or _write(folder, f"{number:05d}", trained, source, piece, encode, device, tracker)


def _write(
    folder: Path,
    name: str,
    trained: Trained,
    source: Source,
    items: list[Item],
    encode: Encode,
    device: torch.device,
    tracker: Tracker,
) -> Path:
    """Makes a piece, and gives its file; what the source rejects is left out."""
    data = trained.config.data
    records: list[Record] = []
    parts: list[dict[str, torch.Tensor]] = []
    for start in range(0, len(items), CHUNK):
        chunk = []
        for item in items[start : start + CHUNK]:
            try:
                record = source.read(item, data.points, data.seed)
                check_record(record, data.points)
            except RejectedItem:
                continue
            chunk.append(record)
        if chunk:
            parts.append(encode(trained, chunk, device))
        records += [dataclasses.replace(record, points=record.points[:0]) for record in chunk]
        tracker.advance(min(CHUNK, len(items) - start))
    if not records:
        raise UserError(f"data={source.name}: rejected each of {len(items)} shapes")
    notes = {
        "captions": [record.captions for record in records],
        "hashes": [record.content_hash for record in records],
    }
    tensors = {field: torch.cat([part[field] for part in parts]) for field in parts[0]}
    need = sum(tensor.nbytes for tensor in tensors.values())
    return write_named(
        folder, name, SUFFIX, partial(save_file, tensors, metadata={_NOTES: json.dumps(notes)}), need
    )


def _encoded(trained: Trained, records: list[Record], device: torch.device) -> dict[str, torch.Tensor]:
    encoded = encoded_records(trained, records, device)
    return {
        "nodes": encoded.nodes.half().cpu(),
        "extent": encoded.extent.float().cpu(),
        "spectrum": encoded.spectrum.half().cpu(),
        "embedding": encoded.embedding.float().cpu(),
    }


def encoded_records(trained: Trained, records: list[Record], device: torch.device) -> PointHierarchy:
    """Records as a run's model encodes them."""
    with settings_of("model"), frozen(trained.model):
        shapes = prepare_shapes(
            torch.from_numpy(np.stack([record.points for record in records])),
            torch.from_numpy(np.stack([record.colors for record in records])),
            torch.from_numpy(np.stack([record.size_m for record in records])),
            trained.config.model,
        )
        return trained.model.encode_shapes(shapes.to(device))


def notes_of(path: Path) -> dict[str, Any]:
    """Captions and hashes of a piece."""
    with safe_open(path, framework="pt") as file:
        notes: dict[str, Any] = json.loads(file.metadata()[_NOTES])
    return notes


def key_of(trained: Trained, source: Source) -> str:
    """Changes with the shapes, the model's weights and the code that encodes."""
    data, settings = trained.config.data, dataclasses.asdict(trained.config.model)
    what = [
        source.fingerprint(),
        data.points,
        data.seed,
        PIECE,
        {name: settings[name] for name in SHAPE_SETTINGS},
    ]
    digest = hashlib.sha256(json.dumps(what).encode())
    for path in _CODE:
        digest.update(path.read_bytes())
    digest.update(weights(trained.model))
    return digest.hexdigest()[:16]


def weights(model: AlignmentModel) -> bytes:
    """A hash of all of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
