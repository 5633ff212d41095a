"""ShapeNet-55 source: the shapes of ULIP's triplets, captioned by the names of their synsets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_values import is_below, points_of, read_json, read_text
from align3d.sources.benchmarks.restricted_pickle import load_untrusted


@register("shapenet55")
class ShapeNet55Source(PublishedSource):
    """ShapeNet-55 as ULIP's triplets have it: plain clouds, each with the names of its synset.

    Args:
        root: Folder of ``train.txt``, ``test.txt``, ``taxonomy.json`` and ``shapenet_pc/``, or one above it.
        layout: How the files lie: ulip; None: found by what is there.
        split: Part of the benchmark to read: train or test.
        up: Axis that points up in the files; None: y.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "shapenet55"
    LAYOUTS: ClassVar[Layouts] = {"ulip": ("taxonomy.json", "shapenet_pc/*.npy")}
    SPLITS = ("test", "train")
    DOWNLOAD = "the ShapeNet-55 folder of ULIP from github.com/salesforce/ULIP"
    LICENSE = "ShapeNet terms of use"
    UP = "y"

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
        """Shapes of the split's list, each with all names of its synset."""
        names = {}
        for synset in read_json(self.base / "taxonomy.json", list, self.name):
            if isinstance(synset, dict) and "synsetId" in synset:
                said = [name.strip() for name in str(synset.get("name", "")).split(",")]
                names[str(synset["synsetId"])] = tuple(filter(None, said))
        lines = read_text(self.base / f"{self.split}.txt", self.name).split()
        return list(self._listed(dict.fromkeys(lines), names))

    def _listed(self, lines: dict[str, None], names: dict[str, tuple[str, ...]]) -> Iterator[Entry]:
        for line in lines:
            synset, _, _ = line.partition("-")  # a model's name may hold further ones
            said = names.get(synset, ())
            file = f"shapenet_pc/{line}"
            problem = ""
            if not said:
                problem = f"synset {synset!r} has no name in taxonomy.json"
            elif not is_below(self.base, file):
                problem = f"no file that {self.split}.txt names: {file}"
            yield Entry(line.removesuffix(".npy"), file, said[0] if said else "", said, problem=problem)

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of a plain array [N, 3]."""
        return Cloud(points_of(load_untrusted(self.base / entry.file), entry.file))
