"""Content of an index as Arrow's record batches: a column of ids, one of vectors, and its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from durable.errors import DamagedFileError
from retrieval.validation import check_content

ID, VECTOR = "id", "vector"
CHUNK = 8192
"""Vectors that are read at a time."""


class Exported(Protocol):
    """An index whose content can be read: `retrieval.ErsIndex`, `ShardedIndex`, or a memory around these."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """``[N]`` ids, ascending."""

    def get(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Vectors and metadata of some ids."""


@dataclass(frozen=True)
class IndexContent:
    """What an index is built of.

    Attributes:
        vectors: ``[N, D]`` float32.
        ids: ``[N]`` int64.
        metadata: Per column ``[N]`` int64, float64, or texts as objects.
    """

    vectors: NDArray[np.float32]
    ids: NDArray[np.int64]
    metadata: dict[str, NDArray[Any]]


def batches_of(index: Exported) -> Iterator[pa.RecordBatch]:
    """The content of an index, ids ascending, some of it at a time; nobody may change it meanwhile.

    Raises:
        ValueError: The index is empty, or a column has the name of the ids or the vectors.
    """
    ids = index.ids
    if not len(ids):
        raise ValueError("an index without vectors has nothing to export")
    for at in range(0, len(ids), CHUNK):
        some = ids[at : at + CHUNK]
        vectors, metadata = index.get(some)
        for name in (ID, VECTOR):
            if name in metadata:
                raise ValueError(f"metadata {name!r} has the name of a column of the format; rename it")
        values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel(), pa.float32())
        columns = {ID: pa.array(some), VECTOR: pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])}
        columns |= {name: _array(own) for name, own in metadata.items()}
        yield pa.RecordBatch.from_pydict(columns)


def _array(values: NDArray[Any]) -> pa.Array:
    return pa.array(values.tolist(), pa.string()) if values.dtype.kind == "O" else pa.array(values)


def content_of(table: pa.Table, label: str) -> IndexContent:
    """The content that a table of others or of `batches_of` holds.

    Columns are ``id`` (whole numbers), ``vector`` (lists of one length of real numbers) and metadata: texts,
    whole or real numbers, none of them missing.

    Args:
        table: The table.
        label: Beginning of messages, such as the file's name.

    Raises:
        DamagedFileError: A column is missing or of another kind, or a value is missing or out of range.
    """
    for name in (ID, VECTOR):
        if name not in table.column_names:
            raise DamagedFileError(f"{label} has no column {name!r}: it has {', '.join(table.column_names)}")
    empty = [name for name in table.column_names if table[name].null_count]
    if empty:
        raise DamagedFileError(f"{label} lacks values in the column {empty[0]!r}")
    try:
        vectors = _vectors(table[VECTOR], len(table))
        ids = table[ID].to_numpy()
        if not pa.types.is_integer(table[ID].type):
            raise ValueError(f"ids of type {table[ID].type}: expected whole numbers")
        vectors, ids = check_content(vectors, ids)
        metadata = {
            name: _column(name, table[name]) for name in table.column_names if name not in (ID, VECTOR)
        }
    except (ValueError, pa.ArrowException) as error:
        raise DamagedFileError(f"{label}: {error}") from error
    return IndexContent(vectors, ids, metadata)


def _vectors(column: pa.ChunkedArray, count: int) -> NDArray[np.float32]:
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise ValueError(f"{VECTOR} of type {kind}: expected lists of numbers")
    parts = [np.asarray(chunk.flatten(), np.float32) for chunk in column.chunks]
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    lengths = {len(values) // max(count, 1)} if pa.types.is_fixed_size_list(kind) else _lengths(column)
    if len(lengths) > 1:
        raise ValueError(f"vectors of {min(lengths)} to {max(lengths)} numbers: expected one length")
    return values.reshape(count, -1)


def _lengths(column: pa.ChunkedArray) -> set[int]:
    return {int(length) for chunk in column.chunks for length in np.unique(chunk.value_lengths())}


def _column(name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = np.empty(len(column), object)
        texts[:] = column.to_pylist()
        return texts
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.int64()))
    if pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()))
    raise ValueError(f"column {name!r} of type {kind}: expected texts or numbers")
