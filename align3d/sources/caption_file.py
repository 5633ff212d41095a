"""Captions files: CSV, JSONL or Parquet rows ``path, caption[, category, license, up, unit]``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from align3d.captions import unique_captions
from align3d.errors import DataError

REQUIRED = ("path", "caption")
OPTIONAL = ("category", "license", "up", "unit")
SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass
class Entry:
    """Combined contents of the rows of one path."""

    captions: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def find_captions_file(root: Path) -> Path:
    """The one file ``captions.csv``, ``.jsonl`` or ``.parquet`` in a folder.

    Raises:
        DataError: There is none, or more than one.
    """
    found = [root / f"captions{suffix}" for suffix in SUFFIXES if (root / f"captions{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise DataError(f"data=folder: several captions files in {root} ({names}); set data.captions to one")
    what = f"no captions file in {root}" if any(root.iterdir()) else f"{root} is empty"
    raise DataError(f"data=folder: {what}; expected captions.csv, .jsonl or .parquet, or set data.captions")


def read_captions(path: Path) -> dict[str, Entry]:
    """All rows of a captions file, gathered by path in the order of their first rows.

    A row's own mistake (no caption, a path outside the root, values at odds with an earlier row) becomes its
    entry's problem.

    Raises:
        DataError: No such file, an unknown format, a missing column, no rows, or text that cannot be parsed.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"data=folder: captions file {path}: expected a name ending in {', '.join(SUFFIXES)}")
    entries: dict[str, Entry] = {}
    for where, row in _rows(path):
        text = _text(row.get("path")).strip()
        relative, problem = _inside(text)
        entry = entries.setdefault(relative or f"{path.name} {where}", Entry())
        problem = problem or _misshapen(row, where)
        caption = " ".join(_text(row.get("caption")).split())
        if caption:
            entry.captions.append(caption)
        for key in OPTIONAL:
            value = _text(row.get(key)).strip()
            if value and entry.values.setdefault(key, value) != value:
                problem = (
                    problem or f"its rows disagree on {key}: {entry.values[key]!r} and {value!r} ({where})"
                )
        entry.problem = entry.problem or problem
    if not entries:
        raise DataError(f"data=folder: captions file {path} has no rows")
    for entry in entries.values():
        entry.captions = list(unique_captions(entry.captions))
        if not entry.captions and not entry.problem:
            entry.problem = "file without a caption: its rows in the captions file hold no text"
    return entries


def _text(value: Any) -> str:
    """A cell as text; empty where there is none, for which some tables have NaN."""
    return "" if value is None or value != value else str(value)


def _misshapen(row: Mapping[Any, Any], where: str) -> str:
    """Problem with the cells of a row; empty where there is none."""
    if row.get(None):  # where the csv module puts what stands behind the last column
        return f"more values than columns: put quotes around a caption that has commas ({where})"
    for key in (*REQUIRED, *OPTIONAL):
        if isinstance(row.get(key), list | dict):
            return (
                f"a {type(row[key]).__name__} as {key}: expected a text, and a row for each caption ({where})"
            )
    return ""


def _inside(text: str) -> tuple[str, str]:
    """A path relative to the root in its plainest form, and what is wrong with it."""
    if not text:
        return "", "caption without a path"
    parts = PurePosixPath(text.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or (len(text) > 1 and text[1] == ":"):
        return text, f"path {text!r} leaves the root; expected a path below it"
    return str(parts), ""


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with words for where it stands."""
    reader = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}[path.suffix]
    try:
        yield from reader(path)
    except FileNotFoundError as error:
        raise DataError(f"data=folder: no captions file {path}; set data.captions") from error
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"data=folder: captions file {path} cannot be read: {error}") from error


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise DataError(
            f"data=folder: captions file {path} has no column {' and '.join(missing)}; expected "
            f"{', '.join(REQUIRED)}[, {', '.join(OPTIONAL)}], found {', '.join(columns) or 'nothing'}"
        )


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [(name or "").strip() for name in reader.fieldnames or []]
        if not columns:
            raise DataError(f"data=folder: captions file {path} is empty")
        _check_columns(path, columns)
        reader.fieldnames = columns
        for row in reader:
            yield f"line {reader.line_num}", row


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open(path, encoding="utf-8-sig") as file:
        empty = True
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            empty = False
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"data=folder: captions file {path}, line {number}: not JSON ({error})"
                ) from error
            if not isinstance(row, dict):
                raise DataError(f"data=folder: captions file {path}, line {number}: expected an object")
            _check_columns(path, list(row))
            yield f"line {number}", row
    if empty:
        raise DataError(f"data=folder: captions file {path} is empty")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with pq.ParquetFile(path) as file:
        columns = list(file.schema_arrow.names)
        _check_columns(path, columns)
        wanted = [column for column in (*REQUIRED, *OPTIONAL) if column in columns]
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
