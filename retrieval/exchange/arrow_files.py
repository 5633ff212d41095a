"""Content of an index as a file of Parquet or a dataset of Lance."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from durable.disk_space import space_for
from durable.errors import DamagedFileError
from durable.whole_files import name_beside, replacing, sync, sync_tree
from retrieval.engines.base import library
from retrieval.exchange.index_content import Exported, IndexContent, batches_of, content_of

FIX = "pip install -c constraints.txt -e '.[exports]'"


def write_parquet(index: Exported, path: Path) -> int:
    """Writes a file of Parquet, whole or not at all.

    Args:
        index: Whose content is written.
        path: The file; one that is there is replaced.

    Returns:
        How many vectors.

    Raises:
        ValueError: As `batches_of`.
        NoSpaceError: The disk does not take it.
    """
    batches = batches_of(index)
    first = next(batches)
    count = 0
    with replacing(path) as beside, pq.ParquetWriter(beside, first.schema, compression="zstd") as file:
        for batch in chain([first], batches):
            file.write_batch(batch)
            count += len(batch)
        file.close()  # before the file is put in its place
    return count


def read_parquet(path: Path) -> IndexContent:
    """The content in a file of Parquet; DamagedFileError where it is none."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return content_of(table, str(path))


def write_lance(index: Exported, path: Path) -> int:
    """Writes a dataset of Lance, whole or not at all.

    Args:
        index: Whose content is written.
        path: Its folder, which is not there yet.

    Returns:
        How many vectors.

    Raises:
        ValueError: As `batches_of`, or the folder is there.
        MissingEngineError: Lance is not installed.
        NoSpaceError: The disk does not take it.
    """
    lance: Any = library("lance", "lance", FIX)
    if path.exists():
        raise ValueError(f"{path} is there; name a new folder")
    batches = batches_of(index)
    first = next(batches)
    with name_beside(path) as beside, space_for(path):
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
        count = int(lance.write_dataset(reader, str(beside)).count_rows())
        sync_tree(beside)
        os.rename(beside, path)
        sync(path.parent)
    return count


def read_lance(path: Path) -> IndexContent:
    """The content in a dataset of Lance; DamagedFileError where it is none."""
    lance: Any = library("lance", "lance", FIX)
    try:
        table = lance.dataset(str(path)).to_table()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return content_of(table, str(path))


def _unreadable(path: Path, error: Exception) -> DamagedFileError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DamagedFileError(f"{path}: cannot be read ({reason})")
