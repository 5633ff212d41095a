"""Files of a sharded index: one folder with a manifest over all shards, each a saved ERS index, and a log.

The manifest has the checksums of the shards' manifests, and these those of their files: each shard is read
and checked where it lives. A file that is missing, damaged or another index's is refused by its name. The
log is appended to after the manifest was written, and has checksums of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from durable.errors import DamagedFileError
from durable.plain_data import typed
from retrieval.ers.hierarchy import Ints
from retrieval.ers.index import ErsIndex
from retrieval.sharding.index_shard import ShardFacts
from retrieval.sharding.partition import MOST_SHARDS, Partition, read_partition
from retrieval.sharding.sharded_content import ShardedContent, column_kinds
from retrieval.storage import StoredArrays, save_folder
from retrieval.validation import whole

NAME = "ers_sharded"
LOG = "changes.log"
_PARTITION = "partition.safetensors"
_SHARD = "shard-"


@dataclass(frozen=True)
class Header:
    """What a manifest says of a sharded index.

    Attributes:
        engine: Its name.
        by: How vectors are spread over shards.
        counts: Vectors of each shard.
        built: Whether each shard has a folder; one that never had a vector has none.
        width: D.
        number: Of the last change in the files.
        columns: Kind of each column of metadata, see `retrieval.sharding.sharded_content.empty_columns`.
        settings: Of the shards' indexes.
        beam: Setting of the whole.
        refine: Setting of the whole.
        log: Whether changes are logged beside the files.
    """

    engine: str
    by: Literal["tree", "hash"]
    counts: list[int]
    built: list[bool]
    width: int
    number: int
    columns: dict[str, Literal["text", "int64", "float64"]]
    settings: dict[str, Any]
    beam: int
    refine: int
    log: bool

    @classmethod
    def read(cls, content: dict[str, Any], folder: Path) -> Header:
        """The header of a manifest.

        Raises:
            ValueError: It is another engine's.
            DamagedFileError: It describes no index.
        """
        if content.get("engine") != NAME:
            raise ValueError(f"{folder} holds an index of engine {content.get('engine')!r}, not {NAME!r}")
        try:
            header = typed(cls, content)
            whole("shards", len(header.counts), most=MOST_SHARDS)
            for count in (*header.counts, header.number):
                whole("count", count, least=0, most=2**62)
            if len(header.built) != len(header.counts):
                raise ValueError("counts and folders of shards differ")
            if any(count and not built for count, built in zip(header.counts, header.built, strict=True)):
                raise ValueError("a shard with vectors has no folder")
            whole("width", header.width)
            ErsIndex(**header.settings)
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"{folder}: its manifest has settings of no index ({error})") from error
        return header


def shard_folder(data: Path, shard: int) -> Path:
    """Folder of a shard among the files of an index."""
    return data / f"{_SHARD}{shard:04d}"


def save_sharded(
    folder: Path, content: ShardedContent, settings: dict[str, Any], beam: int, refine: int, *, log: bool
) -> tuple[Path, list[bool]]:
    """Writes an index that nobody changes meanwhile into a folder, whole or not at all.

    Args:
        folder: The folder.
        content: What is saved.
        settings: Of the shards' indexes.
        beam: Setting of the whole.
        refine: Setting of the whole.
        log: Whether an empty log is put beside it.

    Returns:
        The folder of the files, and whether each shard has a folder there.

    Raises:
        ValueError: The folder holds something else.
        NotSavedError: The disk does not take it.
    """

    def write(data: Path) -> None:
        shards = range(len(content.sets))
        calls = {shard: ("save", str(shard_folder(data, shard))) for shard in shards}
        for shard, facts in content.each(calls).items():
            if facts.vectors != content.counts[shard]:
                raise RuntimeError(f"shard {shard} has {facts.vectors} vectors, not {content.counts[shard]}")
        save_file(content.partition.arrays() or {"none": np.zeros(1, np.int8)}, data / _PARTITION)
        if log:
            (data / LOG).touch()

    facts = content.every("facts")
    header = Header(
        engine=NAME,
        by=content.partition.by,
        counts=content.counts.tolist(),
        built=[own.width > 0 for own in facts],
        width=content.width,
        number=content.number,
        columns=column_kinds(content.columns),  # type: ignore[arg-type]
        settings=settings,
        beam=beam,
        refine=refine,
        log=log,
    )
    return save_folder(folder, write, asdict(header), listed=_is_listed), header.built


def _is_listed(name: str) -> bool:
    """Whether the manifest has a file's checksum: of a shard it has its manifest's, which has the others."""
    return name == _PARTITION or (name.startswith(_SHARD) and name.count("/") == 1)


def read_parts(header: Header, data: Path) -> Partition:
    """The partition of the files of an index.

    Raises:
        DamagedFileError: It is damaged, or there are folders of shards that the manifest does not know.
    """
    known = {shard_folder(data, shard).name for shard, built in enumerate(header.built) if built}
    for path in sorted(data.glob(f"{_SHARD}*")):
        if path.name not in known:
            raise DamagedFileError(f"{path} is no shard of this index, which has {len(header.counts)}")
    precision = str(header.settings.get("precision", "float32"))
    arrays = StoredArrays(data / _PARTITION)
    return read_partition(header.by, len(header.counts), arrays, header.width, precision)


def check_shard(data: Path, header: Header, shard: int, facts: ShardFacts) -> None:
    """Refuses a shard that is another's: DamagedFileError with its folder."""
    folder, count = shard_folder(data, shard), header.counts[shard]
    if facts.vectors != count:
        raise DamagedFileError(
            f"{folder} has {facts.vectors:,} vectors, expected {count:,}: another index's?"
        )
    if facts.width not in (0, header.width):
        raise DamagedFileError(f"{folder} has vectors of width {facts.width}, expected {header.width}")


def check_ids(data: Path, partition: Partition, ids: list[Ints]) -> None:
    """Refuses ids that are in two shards, or in another shard than theirs: DamagedFileError with the folder.

    Args:
        data: Folder of the files.
        partition: Of the index.
        ids: Of each shard.
    """
    for shard, own in enumerate(ids):
        owners = partition.owners(own)
        if owners is not None and (owners != shard).any():
            stray = own[owners != shard][0]
            raise DamagedFileError(f"{shard_folder(data, shard)} has id {stray}, which is another shard's")
    if partition.by == "hash":
        return
    every = np.concatenate(ids)
    shards = np.repeat(np.arange(len(ids)), [len(own) for own in ids])
    order = np.argsort(every, kind="stable")
    twice = np.flatnonzero(every[order][1:] == every[order][:-1])
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        raise DamagedFileError(
            f"{shard_folder(data, int(shards[second]))} has id {every[second]}, which is in "
            f"{shard_folder(data, int(shards[first])).name} too"
        )
