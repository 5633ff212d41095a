"""Captions files: CSV, JSONL or Parquet rows ``path, caption[, category, license, up, unit]``."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from align3d.captions import unique_captions
from align3d.errors import DataError
from align3d.table_file import SUFFIXES, Columns, read_rows

REQUIRED = ("path", "caption")
OPTIONAL = ("category", "license", "up", "unit")
# A line within a quoted text that begins as a row of another file does.
_ROW_WITHIN = re.compile(r'[\r\n]\s*"?([^,;\t|"\r\n]+(\.\w+))"?\s*[,;\t|]')


@dataclass
class Entry:
    """Combined contents of the rows of one path.

    Attributes:
        captions: Captions in the order of their rows, each once.
        values: Values of the optional columns.
        problem: What is wrong with its rows or its file, empty where nothing is.
        file: Name of the file as it is on disk, relative to the root.
    """

    captions: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    file: str = ""


def has_captions_file(root: Path) -> bool:
    """Whether a folder holds a file that `find_captions_file` looks for."""
    names = {f"captions{suffix}" for suffix in SUFFIXES}
    return any(path.name.lower() in names and path.is_file() for path in root.iterdir())


def find_captions_file(root: Path) -> Path:
    """The one file ``captions.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` in a folder.

    Raises:
        DataError: There is none, or more than one.
    """
    names = {f"captions{suffix}" for suffix in SUFFIXES}
    found = sorted(path for path in root.iterdir() if path.name.lower() in names and path.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(path.name for path in found)
        raise DataError(
            f"data=folder: several captions files in {root} ({several}); set data.captions to one"
        )
    what = f"no captions file in {root}" if any(root.iterdir()) else f"{root} is empty"
    raise DataError(f"data=folder: {what}; expected captions.csv, .jsonl or .parquet, or set data.captions")


def read_captions(path: Path) -> dict[str, Entry]:
    """All rows of a captions file, gathered by path in the order of their first rows.

    Paths are in Unicode's normal form C, and each column named ``caption`` gives captions. A row's own
    mistake (no caption, a path outside the root, values at odds with an earlier row) becomes its entry's
    problem.

    Raises:
        DataError: No such file, an unknown format, a missing column, no rows, or text that cannot be parsed.
    """
    label = f"data=folder: captions file {path}"
    if path.suffix.lower() in SUFFIXES and not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise DataError(f"data=folder: no captions file {path} ({what}); set data.captions")
    entries: dict[str, Entry] = {}
    within: list[tuple[str, str, str]] = []
    for row in read_rows(path, Columns(REQUIRED, OPTIONAL, repeated="caption"), label):
        relative, problem = _inside(row.text("path").strip())
        entry = entries.setdefault(relative or f"{path.name} {row.where}", Entry())
        problem = row.problem or problem
        for text in row.cells.get("caption", ()):
            if caption := " ".join(text.split()):
                entry.captions.append(caption)
            within += [(row.where, match[1], match[2]) for match in _ROW_WITHIN.finditer(text)]
        for key in OPTIONAL:
            value = row.text(key).strip()
            if value and entry.values.setdefault(key, value) != value:
                problem = (
                    problem
                    or f"its rows disagree on {key}: {entry.values[key]!r} and {value!r} ({row.where})"
                )
        entry.problem = entry.problem or problem
    if not entries:
        raise DataError(f"{label} has no rows")
    suffixes = {PurePosixPath(name).suffix.lower() for name in entries}
    for where, name, suffix in within:
        if suffix.lower() in suffixes:
            raise DataError(
                f"{label}, {where}: a quote opens that takes in the row of {name!r}; close it before, and "
                'write "" for a quote in a quoted text'
            )
    for entry in entries.values():
        entry.captions = list(unique_captions(entry.captions))
        if not entry.captions and not entry.problem:
            entry.problem = "file without a caption: its rows in the captions file hold no text"
    return entries


def _inside(text: str) -> tuple[str, str]:
    """A path relative to the root in its plainest form, and what is wrong with it."""
    if not text:
        return "", "caption without a path"
    text = unicodedata.normalize("NFC", text)
    parts = PurePosixPath(text.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or (len(text) > 1 and text[1] == ":"):
        return text, f"path {text!r} leaves the root; expected a path below it"
    return str(parts), ""
