"""WebDataset shards: tar files in which each shape is a group of members with one key.

Of a shape with key ``000000012`` there are ``000000012.json`` (texts, size), ``.points.npy`` f16[P, 3],
``.colors.npy`` u8[P, 3] and ``.part.npy`` i16[P]. See https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError
from align3d.exchange.exported_source import ExportedSource
from align3d.sources import register
from align3d.sources.stored_rows import CLOUD

NAME = "shapes-{number:06d}.tar"
_MEMBERS = ("json", *(f"{column}.npy" for column in CLOUD))

Place = tuple[tuple[int, int], ...]
"""Where the members of a shape begin in its file, and their sizes in bytes."""


def write_tar(path: Path, first: int, rows: Iterator[Mapping[str, Any]]) -> None:
    """Write shapes as a tar file; the same rows give the same bytes.

    Args:
        path: The file.
        first: Number of the first row in its dataset.
        rows: Values by column.
    """
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows, first):
            texts = {name: value for name, value in row.items() if name not in (*CLOUD, "size_m")}
            texts["size_m"] = np.asarray(row["size_m"], dtype=np.float32).tolist()
            content = {"json": json.dumps(texts, ensure_ascii=False, sort_keys=True).encode()}
            content |= {f"{name}.npy": _npy(_shaped(row, name)) for name in CLOUD}
            for suffix in _MEMBERS:
                member = tarfile.TarInfo(f"{number:09d}.{suffix}")
                member.size = len(content[suffix])
                tar.addfile(member, io.BytesIO(content[suffix]))


@register("webdataset")
class WebDatasetSource(ExportedSource):
    """Shapes in WebDataset shards (*.tar), as align3d.export writes them.

    Args:
        root: Folder of the files.
    """

    name: ClassVar[str] = "webdataset"
    suffix: ClassVar[str] = ".tar"

    def listed(self, path: Path) -> Iterator[tuple[str, Place]]:
        """Id and place of each shape in a tar file.

        Raises:
            DataError: It is no tar file, or a shape lacks a member.
        """
        try:
            with tarfile.open(path, "r:") as tar, path.open("rb") as file:
                for key, members in _groups(tar):
                    if missing := [suffix for suffix in _MEMBERS if suffix not in members]:
                        raise DataError(
                            f"data={self.name}: {path}: {key} has no {key}.{missing[0]} (members of a shape: "
                            f"{', '.join(_MEMBERS)})"
                        )
                    place = tuple(members[suffix] for suffix in _MEMBERS)
                    yield str(_texts(file, place)["id"]), place
        except (tarfile.TarError, OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"data={self.name}: {path} cannot be read ({error})") from error

    def row(self, path: Path, place: Place) -> dict[str, Any]:
        """Values by column of the shape at a place."""
        with path.open("rb") as file:
            row = _texts(file, place)
            for name, where in zip(CLOUD, place[1:], strict=True):
                row[name] = np.load(io.BytesIO(_bytes(file, where)), allow_pickle=False)
        return row


def _groups(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Key of each shape, with the place of each of its members, which follow each other."""
    key, members = "", dict[str, tuple[int, int]]()
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # which would grow with the file
        if not member.isfile():
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        if (here := f"{folder}/{stem}" if folder else stem) != key and members:
            yield key, members
            members = {}
        key = here
        members[suffix] = (member.offset_data, member.size)
    if members:
        yield key, members


def _texts(file: BinaryIO, place: Place) -> dict[str, Any]:
    texts = json.loads(_bytes(file, place[0]))
    if not isinstance(texts, dict):
        raise ValueError("its JSON is no object")
    return texts


def _bytes(file: BinaryIO, where: tuple[int, int]) -> bytes:
    start, size = where
    file.seek(start)
    found = file.read(size)
    if len(found) < size:
        raise ValueError("the file is cut")
    return found


def _shaped(row: Mapping[str, Any], name: str) -> NDArray[Any]:
    values = np.asarray(row[name])
    return values if name == "part" else values.reshape(-1, 3)


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
