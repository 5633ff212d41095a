"""Layout of a dataset on disk: Arrow shards as ``datasets`` writes them, and our manifest.

A folder holds ``data-*.arrow``, ``state.json`` and ``dataset_info.json`` (so that
``datasets.load_from_disk`` opens it), ``rejections.jsonl``, ``lost_colors.jsonl``, and ``manifest.json``,
which says what the rest must be. Points, colors and parts are lists of fixed size, so that a memory-mapped
column is a numpy array without a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from align3d.errors import DataError
from align3d.hashing import hash_json
from align3d.record import Record

SCHEMA = 1
MANIFEST = "manifest.json"
REJECTIONS = "rejections.jsonl"
LOST_COLORS = "lost_colors.jsonl"


@dataclass(frozen=True)
class ShardInfo:
    """One Arrow file of a dataset: name, number of rows, size in bytes and sha256."""

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

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` with a checksum of its own."""
        content = json.loads(json.dumps(asdict(self)))
        write_text(
            folder / MANIFEST, json.dumps({**content, "checksum": hash_json(content)}, indent=1) + "\n"
        )

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Read a manifest and see that the folder's files have the sizes that it names.

        Raises:
            DataError: No dataset, a newer schema, a damaged manifest, or files missing or cut short.
        """
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise DataError(
                f"no dataset at {folder} (no {MANIFEST}); build one with "
                f"python -m align3d.build source=NAME {shlex.quote(f'out={folder}')}"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{folder / MANIFEST} cannot be read ({error}); build the dataset again"
            ) from error
        manifest = _parse(text, folder)
        for shard in manifest.shards:
            path = folder / shard.file
            found = path.stat().st_size if path.is_file() else None
            if found != shard.bytes:
                what = "is missing" if found is None else f"has {found} bytes instead of {shard.bytes}"
                raise DataError(f"damaged dataset: {path} {what}; build it again")
        return manifest


def _parse(text: str, folder: Path) -> Manifest:
    damaged = f"damaged manifest {folder / MANIFEST}"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{damaged} (not JSON: {error}); build the dataset again") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int):
        raise DataError(f"{damaged} (no schema); build the dataset again")
    if schema > SCHEMA:
        raise DataError(
            f"{folder} has schema {schema}, and this version reads schemas up to {SCHEMA}; "
            f"update the package or build the dataset again"
        )
    checksum = content.pop("checksum", None)
    if checksum != hash_json(content):
        raise DataError(f"{damaged} (its checksum does not match); build the dataset again")
    try:
        shards = tuple(ShardInfo(**shard) for shard in content.pop("shards"))
        return Manifest(shards=shards, **content)
    except (KeyError, TypeError) as error:
        raise DataError(f"{damaged} ({error}); build the dataset again") from error


def arrow_schema(points: int) -> pa.Schema:
    """Columns of a dataset of ``points`` points per shape, with the metadata of ``datasets``."""
    return features(points).arrow_schema


def features(points: int) -> Any:
    """The columns as ``datasets.Features``."""
    from datasets import Features, List, Value  # slow to import; worker processes get the Arrow schema

    return Features(
        {
            "id": Value("string"),
            "source": Value("string"),
            "category": Value("string"),
            "captions": List(Value("string")),
            "points": List(Value("float16"), length=3 * points),
            "colors": List(Value("uint8"), length=3 * points),
            "part": List(Value("int16"), length=points),
            "part_names": List(Value("string")),
            "size_m": List(Value("float32"), length=3),
            "up_axis": Value("string"),
            "license": Value("string"),
            "content_hash": Value("string"),
        }
    )


def write_shard(path: Path, records: Sequence[Record], schema: pa.Schema) -> ShardInfo:
    """Write records as one Arrow stream, whole or not at all."""
    columns = []
    for column in schema:
        values = [getattr(record, column.name) for record in records]
        if pa.types.is_fixed_size_list(column.type):
            flat = pa.array(np.concatenate([value.reshape(-1) for value in values]))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=column.type))
        else:
            columns.append(pa.array(values, type=column.type))
    temporary = path.with_name(path.name + ".tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    info = ShardInfo(path.name, len(records), temporary.stat().st_size, file_hash(temporary))
    os.replace(temporary, path)
    return info


def write_hugging_face(folder: Path, points: int, manifest: Manifest) -> None:
    """The two files by which ``datasets.load_from_disk`` knows the folder."""
    from datasets import DatasetInfo

    DatasetInfo(description=f"align3d {manifest.name}", features=features(points)).write_to_directory(
        str(folder)
    )
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard.file} for shard in manifest.shards],
        "_fingerprint": manifest.hash[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_text(folder / "state.json", json.dumps(state, indent=2))


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old one or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def file_hash(path: Path) -> str:
    """Sha256 hex of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
