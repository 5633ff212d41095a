"""3DCoMPaT200 source: styled shapes with fine or coarse parts by name, and the prompts grounded in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from align3d.errors import DataError
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_files import h5_array, h5_has
from align3d.sources.benchmarks.published_values import (
    class_numbers,
    colors_of,
    labels_of,
    points_of,
    read_json,
)


@register("compat200")
class Compat200Source(PublishedSource):
    """3DCoMPaT200: styled shapes, each point with its part's name.

    Args:
        root: Folder of the ``*.hdf5`` and of ``metadata/``, or one above it.
        layout: How the files lie: hdf5; None: found by what is there.
        split: Part of the benchmark to read: train, valid or test.
        parts: Level of the part labels: fine or coarse.
        prompts: JSON file of grounded prompts, relative to the root: then only shapes that it names, with the
            prompts as captions; None: all shapes, with their classes as captions.
        up: Axis that points up in the files; None: y.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "compat200"
    LAYOUTS: ClassVar[Layouts] = {"hdf5": ("*_*.hdf5", "metadata/parts_*.json")}
    SPLITS = ("test", "train", "valid")
    DOWNLOAD = "the point clouds and metadata of 3DCoMPaT200 from huggingface.co/datasets/CoMPaT/3DCoMPaT200"
    LICENSE = "3DCoMPaT terms of use"
    UP = "y"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        split: str = "test",
        parts: str = "fine",
        prompts: str | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)
        self.parts = self._one_of("parts", parts, ("fine", "coarse"))
        self.prompts = prompts

    def entries(self) -> list[Entry]:
        """Rows of the split's file, ``<shape>__<style>`` each."""
        path = self.base / f"{self.split}_{self.parts}.hdf5"
        shapes, styles = (_texts(path, key) for key in ("shape_id", "style_id"))
        if len(shapes) != len(styles):
            raise DataError(f"data={self.name}: {path}: {len(shapes)} shape_id and {len(styles)} style_id")
        labels, classes = (
            self._labels(path, shapes),
            _names(self.base / "metadata" / "classes.json", self.name),
        )
        parts = tuple(_names(self.base / "metadata" / f"parts_{self.parts}.json", self.name))
        prompts = self._prompts()
        entries: dict[str, Entry] = {}
        for place, (shape, style, label) in enumerate(zip(shapes, styles, labels, strict=True)):
            name, problem = f"{shape}__{style}", ""
            if prompts is not None and name not in prompts:
                continue
            said = () if prompts is None else prompts[name]
            if name in entries:
                problem, name = f"row {place} repeats {name}", f"{name} row {place}"
            elif prompts is not None and not said:
                problem = "its prompts are about no part"
            elif not 0 <= label < len(classes):
                problem = f"class {label} of {len(classes)} in metadata/classes.json"
            category = "" if problem else classes[label]
            entries[name] = Entry(name, path.name, category, said, place, parts, problem)
        for name in sorted(set(prompts or ()) - set(entries)):
            entries[name] = Entry(name, problem=f"prompt without a shape: not in {path.name}")
        return list(entries.values())

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points [P, 6] of a row, with part labels."""
        path = self.base / entry.file
        values = h5_array(path, "points", entry.place)
        points = points_of(values, entry.file)
        colors, lost = colors_of(values[:, 3:6], len(points), entry.file)
        if not h5_has(path, "points_part_labels"):  # kept back for a challenge
            return Cloud(points, colors, lost=lost, notes=("the file has no part labels",))
        part = h5_array(path, "points_part_labels", entry.place)
        if part.dtype == np.uint16:  # -1 of the writer
            part = part.astype(np.int16)
        labels = labels_of(part, len(points), len(entry.extra), entry.file)
        return Cloud(points, colors, labels, entry.extra, lost)

    def _labels(self, path: Path, shapes: list[str]) -> list[int]:
        """Numbers of the classes, of ``metadata/labels.json`` where the test file keeps them back."""
        if h5_has(path, "shape_label"):
            labels = class_numbers(path, "shape_label")
            if len(labels) != len(shapes):
                raise DataError(f"data={self.name}: {path}: {len(labels)} labels for {len(shapes)} shapes")
            return labels
        known = read_json(self.base / "metadata" / "labels.json", dict, self.name)
        numbers = (known.get(shape, -1) for shape in shapes)
        return [number if isinstance(number, int) else -1 for number in numbers]

    def _prompts(self) -> dict[str, tuple[str, ...]] | None:
        """Texts of the prompts about parts by shape; the names of the parts where they have no text."""
        if self.prompts is None:
            return None
        path = self.base / self.prompts
        found = {}
        for name, value in read_json(path, dict, self.name).items():
            asked = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) and isinstance(one.get("masks"), list) for one in asked):
                raise DataError(f"data={self.name}: {path}: {name!r} is no prompt with masks")
            texts = [_prompt(one) for one in asked if one.get("task", "part") == "part"]
            found[name] = tuple(dict.fromkeys(filter(None, texts)))
        return found


def _prompt(one: dict[str, Any]) -> str:
    return str(one.get("prompt") or ", ".join(map(str, one["masks"]))).strip()


def _texts(path: Path, key: str) -> list[str]:
    values = h5_array(path, key).reshape(-1).tolist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def _names(path: Path, name: str) -> list[str]:
    return [str(one) for one in read_json(path, list, name)]
