"""Reader of plain clouds: a point per line, x y z first, then colors, normals or other numbers.

The format has no specification. Which columns are colors is decided by the names in a first line, else by
the suffix (``.xyzrgb``, ``.xyzn``), else by the values:

- three columns of unit length (or with negative values) are normals, those in 0 to 1 or 0 to 255 are colors;
- four columns are colors and an opacity that is the same everywhere, or an intensity and colors;
- six or seven columns are colors and normals in either order, with an opacity or intensity.

What fits two of these, or none, is not read as colors, and the scene says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align3d.errors import RejectedItem
from align3d.sources.meshes.color_range import UnknownRange, to_255
from align3d.sources.meshes.number_lines import parse_rows
from align3d.sources.meshes.scene import CloudPart, Floats, Scene
from align3d.sources.meshes.text_encoding import text_bytes

SUFFIXES = (".xyz", ".xyzn", ".xyzrgb", ".pts")
"""Suffixes of plain clouds."""
MOST_COLUMNS = 256
"""Numbers that a point may have."""
_LINES_OF_HEADER = 20
_COMMENT = (b"#", b"//", b";", b"%")
_SEPARATORS = re.compile(rb"[\s,;]+")
_DECIMAL_COMMA = re.compile(rb"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
_COLOR_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
_SURE = 0.99
"""Share of rows that must be of unit length, in columns that are normals."""
_ASK = "name the columns in a first line such as '# x y z r g b'"


def read_xyz(path: Path, root: Path) -> Scene:
    """Read a plain cloud.

    Args:
        path: The file.
        root: Not used, such a file names no others.

    Raises:
        RejectedItem: The file is damaged, or no list of points.
    """
    text = text_bytes(path.read_bytes())
    header = _Header.read(text)
    rows = parse_rows(np.frombuffer(header.normalize(text[header.end :]) + b"\n", dtype=np.uint8))
    counts = rows.counts[rows.counts > 0]
    width = int(counts[0])
    if (counts != width).any():
        odd = int(counts[counts != width][0])
        raise RejectedItem(f"a point of {odd} numbers where others have {width}: damaged or truncated?")
    if not 3 <= width <= MOST_COLUMNS:
        raise RejectedItem(f"points of {width:,} numbers, expected x, y, z and at most {MOST_COLUMNS} in all")
    if header.points is not None and header.points != len(counts):
        raise RejectedItem(f"{len(counts)} points where the first line says {header.points}: truncated?")
    table = rows.values.reshape(-1, width)
    lost: list[str] = []
    columns = _color_columns(table, header.names, path.suffix.lower(), lost)
    colors = None
    if columns is not None:
        try:
            colors = to_255(table[:, columns]).astype(np.uint8)
        except UnknownRange as error:
            lost.append(f"columns {columns[0] + 1} to {columns[-1] + 1}: {error}")
    return Scene((CloudPart("", _placed(table, header.names), colors),), tuple(lost))


@dataclass(frozen=True)
class _Header:
    """What stands before the first point.

    Attributes:
        end: Where the points begin.
        names: Names of the columns, in small letters; empty where no line gives them.
        points: Number of points that the file promises, where it does.
        separator: The byte between numbers; a blank where there are others too.
        decimal_comma: Whether numbers are written as 1,5.
    """

    end: int
    names: tuple[str, ...]
    points: int | None
    separator: bytes
    decimal_comma: bool

    @classmethod
    def read(cls, text: bytes) -> _Header:
        position, points = 0, None
        names: tuple[str, ...] = ()
        for _ in range(_LINES_OF_HEADER):
            end = text.find(b"\n", position)
            line = text[position : end if end >= 0 else len(text)].strip()
            comment = line.startswith(_COMMENT)
            line = line if comment else line.partition(b"#")[0].strip()
            words = [word for word in _SEPARATORS.split(line.lstrip(b"#/;% ")) if word]
            if words and not comment and all(_is_number(word) for word in words):
                if len(words) > 1:
                    return cls(position, names, points, *_punctuation(line))
                points = int(words[0]) if words[0].isdigit() and len(words[0]) < 19 else None
            elif words and "x" not in names and not all(_is_number(word) for word in words):
                names = tuple(word.decode("ascii", errors="replace").lower() for word in words)
            if end < 0:
                break
            position = end + 1
        if not text.strip():
            raise RejectedItem("no geometry in the file: it is empty")
        raise RejectedItem("not a list of points: expected lines of numbers, x y z first")

    def normalize(self, body: bytes) -> bytes:
        """The points with blanks between their numbers and points in them."""
        if self.decimal_comma:
            body = body.replace(b",", b".")
        return body if self.separator == b" " else body.replace(self.separator, b" ")


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _punctuation(line: bytes) -> tuple[bytes, bool]:
    """The separator, and whether numbers have a decimal comma."""
    pieces = line.replace(b";", b" ").split()
    comma = len(pieces) > 2 and any(map(_DECIMAL_COMMA.fullmatch, pieces))
    if b";" in line:
        return b";", comma
    return b"," if b"," in line and not comma else b" ", comma


def _placed(table: Floats, names: tuple[str, ...]) -> Floats:
    """Columns x, y and z, which are the first three where no names say otherwise: f64[N, 3]."""
    named = len(names) == table.shape[1] and {"x", "y", "z"} <= set(names)
    return np.ascontiguousarray(table[:, [names.index(axis) for axis in "xyz"] if named else [0, 1, 2]])


def _color_columns(table: Floats, names: tuple[str, ...], suffix: str, lost: list[str]) -> list[int] | None:
    """The three columns that hold colors; None where there are none, or where that is not clear."""
    further = table.shape[1] - 3
    if not further or suffix == ".xyzn":
        return None
    if len(names) == table.shape[1]:
        for colors in _COLOR_NAMES:
            if set(colors) <= set(names):
                return [names.index(color) for color in colors]
        if "x" in names:  # the names are those of columns, and none is a color
            return None
    if suffix == ".xyzrgb":
        return [3, 4, 5] if further >= 3 else None
    if suffix == ".pts" and further in (1, 4):  # x y z intensity [r g b]
        return [4, 5, 6] if further == 4 else None
    found = _layouts(table[:, 3:])
    if found and found[0] < 0:
        return None
    if len(found) == 1:
        return [3 + found[0] + k for k in range(3)]
    columns = "column 4" if further == 1 else f"columns 4 to {table.shape[1]}"
    doubt = "colors of one kind or another" if found else "neither colors nor normals for sure"
    lost.append(f"{columns}: {doubt}; {_ASK}")
    return None


def _layouts(values: Floats) -> list[int]:
    """Where colors begin in f64[N, k], in each arrangement that fits; [-1] where there are normals alone."""
    kinds = [_kind(values[:, first : first + 3]) for first in range(values.shape[1] - 2)]
    last = values.shape[1] - 1
    opaque = bool((values[:, last] == values[0, last]).all()) and values[0, last] in (1.0, 255.0)
    match kinds:
        case ["normals"] | ["normals", _]:
            return [-1]
        case ["colors"]:
            return [0]
        case ["colors", _] if opaque:
            return [0]
        case [_, "colors"] if _is_intensity(values[:, 0]):
            return [1]
        case ["colors", _]:
            return [0, 1]
        case ["colors", _, _, "normals"]:
            return [0]
        case ["normals", _, _, "colors"]:
            return [3]
        case ["normals", _, _, "colors", _] if opaque:
            return [3]
        case [first, second, _, _, "normals"] if "colors" in (first, second):
            alpha = values[:, 3]
            if first == "colors" and (alpha == alpha[0]).all() and alpha[0] in (1.0, 255.0):
                return [0]
            return [1] if second == "colors" and _is_intensity(values[:, 0]) else [0, 1]
    return []


def _is_intensity(column: Floats) -> bool:
    """Whether a column cannot be one of bytes, as an intensity of a scanner."""
    return bool((column < 0).any() or (column > 255).any() or (column != np.round(column)).any())


def _kind(window: Floats) -> str:
    """What three columns are by their values: "normals", "colors", or "" where neither is sure."""
    if not np.isfinite(window).all():
        return ""
    length = np.linalg.norm(window, axis=1)
    length = length[length > 0.0]  # a point may lack its normal, or be black
    if len(length) and (np.abs(length - 1.0) < 0.01).mean() >= _SURE:
        # Pure red, green and blue in 0 to 1 are of unit length as well.
        return "" if np.isin(window, (0.0, 1.0)).all() else "normals"
    if (window < 0.0).any() or window.max() > 65535.0 or not window.any():
        return ""
    if window.max() > 255.0 and (window != np.round(window)).any():
        return ""
    return "colors"
