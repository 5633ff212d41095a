"""Cap3D source: Objaverse's shapes as colored clouds, with one generated caption each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_values import colors_of, points_of
from align3d.sources.benchmarks.restricted_pickle import load_tensor
from align3d.table_file import csv_records, decode


@register("cap3d")
class Cap3dSource(PublishedSource):
    """Cap3D: clouds of Objaverse (``<uid>.pt``) and a captions file without a header.

    Args:
        root: Folder of the captions file and of ``PointCloud_pt_zips/`` or ``Cap3D_pcs_pt/`` with the
            unpacked clouds.
        layout: How the files lie: pt; None: found by what is there.
        captions: Captions file, relative to the root; None: the only ``*.csv`` there.
        split: Part of the benchmark to read; it has no split of its own: all.
        up: Axis that points up in the files; None: z.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "cap3d"
    LAYOUTS: ClassVar[Layouts] = {"pt": ("*.csv", "**/*.pt")}
    SPLITS = ("all",)
    DOWNLOAD = "Cap3D's captions and PointCloud_pt_zips from huggingface.co/datasets/tiange/Cap3D"
    LICENSE = "ODC-By-1.0"
    UP = "z"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        captions: str | None = None,
        split: str = "all",
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)
        self.captions = captions

    def entries(self) -> list[Entry]:
        """A shape for each uid of the captions file, and one for each cloud that it does not name."""
        said: dict[str, list[str]] = {}
        torn: dict[str, str] = {}
        path = self._captions_file()
        label = f"data=cap3d: {path}"
        try:
            text = decode(path.read_bytes(), label)
        except OSError as error:
            raise DataError(f"{label} cannot be read: {error.strerror}") from error
        for line, values in csv_records(text, ",", label):
            if len(values) == 2:
                said.setdefault(values[0].strip(), []).append(values[1].strip())
            else:
                torn[values[0].strip()] = f"line {line}: {len(values)} values, expected uid,caption"
        clouds = {
            file.stem: file.relative_to(self.base).as_posix() for file in sorted(self.base.rglob("*.pt"))
        }
        entries = [
            _entry(uid, said.get(uid), clouds.get(uid)) for uid in {**said, **clouds} if uid not in torn
        ]
        return [*entries, *(Entry(uid, problem=problem) for uid, problem in torn.items())]

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of a tensor (6, N): xyz, then rgb."""
        path = self.base / entry.file
        if not path.stat().st_size:
            raise RejectedItem(f"{entry.file}: an empty file")
        values = load_tensor(path)
        if values.ndim != 2 or values.shape[0] != 6:
            raise RejectedItem(f"{entry.file}: tensor {list(values.shape)}, expected (6, N)")
        points = points_of(values[:3].T, entry.file)
        colors, lost = colors_of(values[3:].T, len(points), entry.file)
        return Cloud(points, colors, lost=lost)

    def _captions_file(self) -> Path:
        if self.captions is not None:
            return self.base / self.captions
        files = sorted(self.base.glob("*.csv"))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"data=cap3d: several captions files ({names}); choose one with data.captions")
        return files[0]


def _entry(uid: str, captions: list[str] | None, file: str | None) -> Entry:
    if captions is None:
        return Entry(uid, problem="file without a caption: the captions file does not name it")
    if file is None:
        return Entry(uid, problem=f"caption without a file: no {uid}.pt")
    said = tuple(dict.fromkeys(filter(None, captions)))
    return Entry(uid, file, captions=said, problem="" if said else "no caption: an empty text")
