"""Embeddings of other models, in files as other tools write them.

* ``NAME.npz``: arrays ``vectors`` ``[N, D]``, ``ids`` ``[N]`` (texts or whole numbers; rows without), and
  texts ``caption``, ``category``, ``file``, ``split`` ``[N]`` where there are any. Nothing is unpickled.
* ``NAME.safetensors``: a tensor ``vectors`` ``[N, D]``, and ``ids`` ``[N]`` if they are whole numbers.
* ``NAME.npy``: vectors ``[N, D]``.

The last two take ids and texts from a table beside them, ``NAME.csv`` or ``NAME.jsonl``: columns ``id``,
``caption``, ``category``, ``file``, ``split``, one row for each vector in their order.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from align3d.errors import UserError

FORMATS = (".npz", ".safetensors", ".npy")
VECTORS, IDS = "vectors", "ids"
TEXTS = ("caption", "category", "file", "split")
SHORTEST = 1e-12
_ROWS = 65_536
"""Vectors that are checked at a time."""


@dataclass(frozen=True)
class OutsideVectors:
    """Vectors of another model with what is known of each. ``N`` shapes.

    Attributes:
        vectors: ``[N, D]`` float32 of unit length.
        ids: ``N``.
        texts: ``caption``, ``category``, ``file`` and ``split`` of each; empty where nothing is known.
    """

    vectors: NDArray[np.float32]
    ids: list[str]
    texts: dict[str, list[str]]


def read_outside(path: Path, setting: str = "embeddings", *, unique: bool = True) -> OutsideVectors:
    """Reads vectors of one of the formats, made of unit length: what counts is the cosine.

    Args:
        path: The file.
        setting: That names it, for messages.
        unique: Whether an id may stand there only once; several texts may be of one shape.

    Raises:
        UserError: The file is missing, damaged, or holds something else.
    """
    where = f"{setting}={path}"
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{where}: format {path.suffix!r} is not read; expected {', '.join(FORMATS)}")
    parts = _arrays(path, where)
    vectors = unit_vectors(parts[VECTORS], where)
    texts: dict[str, list[Any]] = {name: list(parts[name]) for name in TEXTS if name in parts}
    ids: list[Any] | None = list(parts[IDS]) if IDS in parts else None
    table = next(
        (beside for kind in (".csv", ".jsonl") if (beside := path.with_suffix(kind)).is_file()), None
    )
    if table is not None:
        rows = _rows(table, where)
        if len(rows) != len(vectors):
            raise UserError(
                f"{where}: {len(vectors)} vectors and {len(rows)} rows in {table.name}; expected one each"
            )
        texts |= {
            name: [row.get(name) or "" for row in rows] for name in TEXTS if any(name in row for row in rows)
        }
        if ids is None and all("id" in row for row in rows):
            ids = [row["id"] for row in rows]
    if ids is None:
        ids = list(range(len(vectors)))
    for name, values in {IDS: ids, **texts}.items():
        if len(values) != len(vectors):
            raise UserError(f"{where}: {len(vectors)} vectors and {len(values)} {name}; expected one each")
    names = [str(value) for value in ids]
    if unique and len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"{where}: id {twice!r} stands there twice; expected each once")
    known = {name: [str(value) for value in texts.get(name, [""] * len(vectors))] for name in TEXTS}
    return OutsideVectors(vectors, names, known)


def unit_vectors(vectors: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Vectors ``[N, D]`` of length 1.

    Raises:
        UserError: They are no finite vectors, or one is zero.
    """
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind not in "fiu":
        raise UserError(f"{where}: {vectors.dtype} {list(vectors.shape)}; expected numbers [N, D]")
    found = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _ROWS):
        wide = vectors[start : start + _ROWS].astype(np.float64)
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        wrong = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] < SHORTEST)
        if wrong.any():
            row = start + int(wrong.argmax())
            raise UserError(f"{where}: row {row} is zero or not finite; expected a direction")
        found[start : start + _ROWS] = wide / lengths
    return found


def _arrays(path: Path, where: str) -> Mapping[str, NDArray[Any]]:
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                found: Mapping[str, NDArray[Any]] = {name: file[name] for name in file.files}
        elif path.suffix.lower() == ".npy":
            found = {VECTORS: np.load(path, mmap_mode="r", allow_pickle=False)}
        else:
            found = load_file(path)
    except (OSError, ValueError, TypeError, EOFError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{where}: cannot be read ({reason}); expected {', '.join(FORMATS)}") from error
    if VECTORS not in found:
        raise UserError(f"{where}: no array {VECTORS!r} (there: {', '.join(found) or 'none'})")
    return found


def _rows(path: Path, where: str) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                return [dict(row) for row in csv.DictReader(file, skipinitialspace=True)]
            rows = [json.loads(line) for line in file if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise UserError(f"{where}: {path.name} beside it cannot be read ({error})") from error
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise UserError(f"{where}: {path.name} holds {str(wrong[0])[:40]!r}; expected an object a line")
    return rows
