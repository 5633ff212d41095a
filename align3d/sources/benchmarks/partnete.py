"""PartNetE source: colored clouds of PartNet-Mobility objects, with the parts of each class by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_values import labels_of, read_json
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
from align3d.sources.meshes.ply import read_ply
from align3d.sources.meshes.scene import CloudPart

_META = "PartNetE_meta.json"


@register("partnete")
class PartNetESource(PublishedSource):
    """PartNetE: colored clouds of 45 classes with parts by name.

    Args:
        root: Folder of ``PartNetE_meta.json`` and of ``test/`` or ``data/test/``, or one above it.
        layout: How the files lie: ply; None: found by what is there.
        split: Part of the benchmark to read: test, few_shot or train.
        up: Axis that points up in the files; None: z.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "partnete"
    LAYOUTS: ClassVar[Layouts] = {"ply": (_META,)}
    SPLITS = ("test", "few_shot", "train")
    DOWNLOAD = "PartNetE_meta.json and data/ from huggingface.co/datasets/minghua/PartSLIP"
    LICENSE = "PartNet-Mobility terms of use"
    UP = "z"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        split: str = "test",
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)

    def entries(self) -> list[Entry]:
        """A shape for each folder ``<Class>/<id>``."""
        parts = read_json(self.base / _META, dict, self.name)
        folder = self._folder()
        entries = []
        for path in sorted(path for path in folder.glob("*/*") if path.is_dir()):
            category, name = path.parent.name, path.relative_to(self.base).as_posix()
            problem = ""
            for file in ("pc.ply", "label.npy"):
                if not (path / file).is_file():
                    problem = f"no {file}: in {name}"
            if category not in parts:
                problem = f"class {category!r} is not in {_META}"
            names = tuple(map(str, parts.get(category, ())))
            entries.append(Entry(f"{category}/{path.name}", name, category, extra=names, problem=problem))
        return entries

    def files(self, entry: Entry) -> tuple[str, ...]:
        """The cloud and its labels."""
        return (f"{entry.file}/pc.ply", f"{entry.file}/label.npy")

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of ``pc.ply`` with ``semantic_seg`` of ``label.npy``."""
        cloud_file, label_file = self.files(entry)
        scene = read_ply(self.base / cloud_file, self.base)
        part = scene.parts[0]
        if not isinstance(part, CloudPart):
            raise RejectedItem(f"{cloud_file}: a mesh, expected a cloud")
        labels = load_untrusted(self.base / label_file)
        if not isinstance(labels, dict) or "semantic_seg" not in labels:
            raise RejectedItem(f"{label_file}: a {type(labels).__name__} without 'semantic_seg'")
        names: tuple[str, ...] = entry.extra
        seg = labels_of(labels["semantic_seg"], len(part.points), len(names), label_file)
        return Cloud(part.points, part.colors, seg, names, scene.lost)

    def _folder(self) -> Path:
        for folder in (self.base / self.split, self.base / "data" / self.split):
            if folder.is_dir():
                return folder
        raise DataError(f"data={self.name}: no folder {self.split} or data/{self.split} in {self.base}")
