"""Files of a library that is ready to be searched: opened at once, read where a query needs them.

A library is a folder of its own in the run's folder ``search/``; its header holds the checksums of the rest.
What depends on the shapes and captions alone stands there, worked out once; tensors are memory-mapped, so
that a query reads the rows of its candidates and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from durable.checksums import check_files, file_facts, write_json
from durable.errors import DamagedFileError
from durable.whole_files import name_beside, put_in_place, remove, sync_tree
from experiments.run_folder.readers import read_json
from models import AlignmentMemory

SHAPES, TEXTS, MEMORY, HEADER, INDEX = (
    "shapes.safetensors",
    "texts.safetensors",
    "memory.safetensors",
    "library.json",
    "index",
)
CLOUD_POINTS = 2048
"""Points of a shape that are kept to draw it."""
VERIFIED_BYTES = 200_000_000
"""Size up to which hashing a library takes less than a tenth of the command that opens it."""


@dataclass(frozen=True)
class LibraryHeader:
    """Content of a library but for its tensors. ``M`` shapes, ``Q`` captions.

    Attributes:
        key: Changes with the run's weights, its data and the library's.
        name: Name of the dataset.
        dataset: Folder of the dataset when the library was made.
        up_axis: The axis that points up.
        ids: ``M`` ids of the shapes in the dataset.
        files: ``M`` paths of the files they come from; the id where a source has no files.
        categories: ``M``.
        captions: ``M`` lists of captions, the canonical one first.
        texts: ``Q`` captions, each once.
        env: Settings of the decision process.
        reward: Settings of its reward.
        model: Sizes of the model.
        encoder: Name of the text encoder.
        max_tokens: Tokens of a text that it reads.
        decimal_comma: Whether its captions write 1.234 as 1,234, so that queries are read in that way.
        candidates: Candidates that the run's evaluation re-ranks.
        imports: Modules to import first.
        seed: The run's.
        points: Points that a shape is sampled by.
        part_names: ``M`` lists of the names of a shape's parts; without any, ``shapes`` has no ``part``.
        known_texts: Captions of the memory's texts.
        known_ids: Ids of the memory's shapes.
        known_rows: Row of each of the memory's shapes in this library, -1 where it is not in it.
    """

    key: str
    name: str
    dataset: str
    up_axis: str
    ids: list[str]
    files: list[str]
    categories: list[str]
    captions: list[list[str]]
    texts: list[str]
    env: dict[str, Any]
    reward: dict[str, Any]
    model: dict[str, Any]
    encoder: str
    max_tokens: int
    decimal_comma: bool
    candidates: int
    imports: list[str]
    seed: int
    points: int
    part_names: list[list[str]]
    known_texts: list[str]
    known_ids: list[str]
    known_rows: list[int]


@dataclass(frozen=True)
class LibraryFiles:
    """An opened library.

    Attributes:
        folder: Of its files.
        header: All but tensors.
        shapes: Memory-mapped, ``M`` rows each: ``nodes``, ``centers``, ``region``, ``extent``, ``spectrum``
            and ``embedding`` of `models.PointHierarchy` (half precision but for the last two), ``recalled``,
            ``hubness`` and ``likeness`` of `models.Library` (with a memory), ``cloud`` ``[M, P, 3]`` float16
            with z up, ``colors`` ``[M, P, 3]`` uint8, ``patch`` ``[M, P]`` uint8, the patch nearest to each
            point, and where shapes have parts with names ``part`` ``[M, P]`` int16.
        texts: Likewise, ``Q`` rows each: ``tokens``, ``mask``, ``quantities`` and ``embedding`` of
            `models.TextEmbedding`, and with a memory ``recalled`` and ``hubness``.
        memory: Known pairs; None without any.
    """

    folder: Path
    header: LibraryHeader
    shapes: dict[str, Tensor]
    texts: dict[str, Tensor]
    memory: AlignmentMemory | None

    def __len__(self) -> int:
        return len(self.header.ids)


def open_library(folder: Path, key: str, *, verify: bool = True) -> LibraryFiles | None:
    """The library in a folder; None where there is none, or one of another key.

    Args:
        folder: Of the library.
        key: See `LibraryHeader`.
        verify: Whether all tensors are read and compared with their checksums; their sizes alone otherwise.

    Raises:
        DamagedFileError: A file is missing, or was cut or changed; it is named.
        UserError: A file cannot be read.
    """
    path = folder / HEADER
    if not path.is_file():
        return None
    plain = read_json(path)
    if plain.get("key") != key:
        return None
    facts = plain.pop("tensors", None)
    if facts is None:  # of a changed name: the key says that there are some
        raise DamagedFileError(f"{path} is damaged: it has no checksums")
    check_files(folder, facts, verify=verify)
    return LibraryFiles(
        folder,
        LibraryHeader(**plain),
        load_file(folder / SHAPES),
        load_file(folder / TEXTS),
        AlignmentMemory.load(folder / MEMORY) if MEMORY in facts else None,
    )


def is_small(folder: Path) -> bool:
    """Whether all files of a library are compared with their checksums whenever it is opened."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= VERIFIED_BYTES


def write_library(
    folder: Path,
    header: LibraryHeader,
    shapes: dict[str, Tensor],
    texts: dict[str, Tensor],
    memory: AlignmentMemory | None,
    index: Any,
) -> None:
    """Writes a library beside its place and renames it: it is there whole, or not at all.

    Args:
        folder: An older library there is replaced.
        header: Its content but for tensors.
        shapes: See `LibraryFiles`.
        texts: See `LibraryFiles`.
        memory: Known pairs.
        index: `retrieval.ErsIndex` over the shapes.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    with name_beside(folder) as beside:
        beside.mkdir()
        tensors = [SHAPES, TEXTS]
        save_file({name: part.contiguous() for name, part in shapes.items()}, beside / SHAPES)
        save_file({name: part.contiguous() for name, part in texts.items()}, beside / TEXTS)
        if memory is not None:
            memory.save(beside / MEMORY)
            tensors.append(MEMORY)
        index.save(beside / INDEX)
        write_json(beside / HEADER, asdict(header) | {"tensors": file_facts(beside, tensors)}, indent=None)
        sync_tree(beside)
        remove(folder)
        put_in_place(beside, folder)


def half(tensor: Tensor) -> Tensor:
    """A copy in half precision."""
    return tensor.detach().to("cpu", torch.float16)
