"""Layout of a dataset on disk: Arrow shards as ``datasets`` writes them, and our manifest.

A folder holds ``manifest.json``, which says what the rest must be, ``state.json`` and ``dataset_info.json``
(so that ``datasets.load_from_disk`` opens it), and one folder ``data-KEY`` with the shards,
``rejections.jsonl`` and ``lost_colors.jsonl``: another dataset comes in beside it, and takes its place when
the manifest does. Points, colors and parts are lists of fixed size, so that a memory-mapped column is a numpy
array without a copy.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from align3d.errors import DamagedDataset, DataError
from align3d.hashing import hash_json
from align3d.record import Record
from durable.checksums import file_sha256
from durable.plain_data import typed
from durable.whole_files import replacing, write_text

SCHEMA = 2
MANIFEST = "manifest.json"
REJECTIONS = "rejections.jsonl"
LOST_COLORS = "lost_colors.jsonl"
NOTES = "notes.jsonl"
STATE = "state.json"
INFO = "dataset_info.json"
DATASHEET = "README.md"
OWN_NAMES = re.compile(
    rf"data-[0-9a-f]{{16}}|data-\d+-of-\d+\.arrow|cache-.*|\.partial-.*"
    rf"|{re.escape(MANIFEST)}|{re.escape(STATE)}|{re.escape(INFO)}"
    rf"|{re.escape(REJECTIONS)}|{re.escape(LOST_COLORS)}|{re.escape(NOTES)}"
    rf"|{re.escape(DATASHEET)}"
)
"""Names in a dataset's folder: ours, and ``cache-*`` of ``datasets``."""


@dataclass(frozen=True)
class ShardInfo:
    """One Arrow file of a dataset: path in its folder, number of rows, size in bytes and sha256."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Contents of a dataset's folder.

    Attributes:
        schema: Version of this layout.
        name: The source's name.
        key: Hash of what the dataset was built from (schema, fingerprint, points, seed).
        hash: Hash of what it holds (ids, content hashes, captions, points, seed), the same on every machine.
        points: Number of points per shape.
        seed: The seed of the sampling.
        up_axis: The axis that points up in every shape.
        rows: Number of shapes.
        rejected: Number of rejections.
        shards: The Arrow files, in the order of the rows.
        lost_colors: Number of shapes whose colors were dropped, all or some.
        files: Size and sha256 of the lists of what was left out, by their paths; of schema 1, none.
    """

    schema: int
    name: str
    key: str
    hash: str
    points: int
    seed: int
    up_axis: str
    rows: int
    rejected: int
    shards: tuple[ShardInfo, ...]
    lost_colors: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """Path in the folder of the shards and the lists of what was left out."""
        return str(PurePath(self.shards[0].file).parent)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Size and sha256 of every file in ``data``, by its path in the folder."""
        return {
            shard.file: {"bytes": shard.bytes, "sha256": shard.sha256} for shard in self.shards
        } | self.files

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` with a checksum of its own."""
        content = json.loads(json.dumps(asdict(self)))
        write_text(
            folder / MANIFEST, json.dumps({**content, "checksum": hash_json(content)}, indent=1) + "\n"
        )

    def write_hugging_face(self, folder: Path) -> None:
        """Write the two files by which ``datasets.load_from_disk`` knows the folder."""
        for name, text in self._hugging_face().items():
            write_text(folder / name, text)

    def other_than_written(self, folder: Path) -> list[str]:
        """Those of the files for ``datasets`` that differ from what this manifest says, or are missing."""
        if self.schema == 1:
            return []
        return [
            name
            for name, text in self._hugging_face().items()
            if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()
        ]

    def _hugging_face(self) -> dict[str, str]:
        """Content of these files. The columns are in the shards: what ``state.json`` names is whole."""
        state: dict[str, Any] = {
            "_data_files": [{"filename": shard.file} for shard in self.shards],
            "_fingerprint": self.hash[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        info = {"description": f"align3d {self.name}"}
        return {STATE: json.dumps(state, indent=2), INFO: json.dumps(info, indent=2)}

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            DataError: No dataset, or a newer schema.
            DamagedDataset: The manifest is not as it was written, or gone.
        """
        place = folder / MANIFEST
        try:
            text = place.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            if is_built(folder):
                raise DamagedDataset(f"{place} is missing") from error
            raise DataError(
                f"no dataset at {folder} (no {MANIFEST}); build one with "
                f"python -m align3d.build source=NAME {shlex.quote(f'out={folder}')}"
            ) from error
        except UnicodeDecodeError as error:
            raise DamagedDataset(f"{place} is not UTF-8 ({error})") from error
        except OSError as error:
            raise DataError(f"{place} cannot be read ({error.strerror})") from error
        return _parse(text, folder)


def lock_of(folder: Path) -> Path:
    """The lock file that a build of a folder holds."""
    return folder.with_name(folder.name + ".lock")


def is_built(folder: Path) -> bool:
    """Whether a folder holds a dataset that a build wrote, whole or not, and nothing else."""
    if not folder.is_dir() or not all(OWN_NAMES.fullmatch(path.name) for path in folder.iterdir()):
        return False
    return any(
        (place / name).is_file()
        for place in (folder, *folder.glob("data-*"))
        for name in (REJECTIONS, LOST_COLORS)
    )


def _parse(text: str, folder: Path) -> Manifest:
    place = folder / MANIFEST
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedDataset(f"{place} is not JSON ({error})") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int):
        raise DamagedDataset(f"{place} has no schema")
    if schema > SCHEMA:
        raise DataError(
            f"{folder} has schema {schema}, and this version reads schemas up to {SCHEMA}; "
            f"update the package or build the dataset again"
        )
    checksum = content.pop("checksum", None)
    try:
        if checksum != hash_json(content):
            raise DamagedDataset(f"{place}: its checksum does not match")
        manifest = typed(Manifest, content)
        names = [PurePath(name) for name in manifest.facts()]
        if not manifest.shards or any(name.is_absolute() or ".." in name.parts for name in names):
            raise DamagedDataset(f"{place} names no shards, or files outside of its folder")
    except DamagedDataset:
        raise
    except ValueError as error:
        raise DamagedDataset(f"{place} is no manifest ({error})") from error
    return manifest


def arrow_schema(points: int) -> pa.Schema:
    """Columns of a dataset of ``points`` points per shape, with the metadata of ``datasets``."""
    from datasets import Features  # slow to import; worker processes get the Arrow schema

    return Features.from_arrow_schema(columns(points)).arrow_schema


def columns(points: int) -> pa.Schema:
    """Names and types of the columns, without the metadata."""
    text = pa.string()
    return pa.schema(
        [
            ("id", text),
            ("source", text),
            ("category", text),
            ("captions", pa.list_(text)),
            ("points", pa.list_(pa.float16(), 3 * points)),
            ("colors", pa.list_(pa.uint8(), 3 * points)),
            ("part", pa.list_(pa.int16(), points)),
            ("part_names", pa.list_(text)),
            ("size_m", pa.list_(pa.float32(), 3)),
            ("up_axis", text),
            ("license", text),
            ("content_hash", text),
        ]
    )


def write_shard(path: Path, records: Sequence[Record], schema: pa.Schema) -> ShardInfo:
    """Write records as one Arrow stream, whole or not at all.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    arrays = []
    for column in schema:
        values = [getattr(record, column.name) for record in records]
        if pa.types.is_fixed_size_list(column.type):
            flat = pa.array(np.concatenate([value.reshape(-1) for value in values]))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=column.type))
        else:
            arrays.append(pa.array(values, type=column.type))
    table = pa.Table.from_arrays(arrays, schema=schema)
    with replacing(path, table.nbytes) as beside:
        with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(table)
        return ShardInfo(path.name, len(records), beside.stat().st_size, file_sha256(beside))
