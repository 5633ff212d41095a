"""3DCoMPaT200 source: styled shapes with fine or coarse parts by name, and the prompts grounded in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.hdf5_arrays import h5_array, h5_has
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.benchmarks.published_values import cloud_of, labels_of, read_json


def _entries(source: Compat200Source) -> Iterator[Entry]:
    """Rows of the split's file, ``<shape>__<style>`` each."""
    path = source.base / source.file
    shapes, styles = (_texts(path, key) for key in ("shape_id", "style_id"))
    labels = _classes_of(source, path, shapes)
    if not len(shapes) == len(styles) == len(labels):
        raise DataError(
            f"{path}: {len(shapes)} shape_id, {len(styles)} style_id and {len(labels)} shape_label"
        )
    classes = source.metadata("classes")
    source.metadata(f"parts_{source.parts}")  # a damaged list is refused at once
    prompts = _prompts(source)
    known: set[str] = set()
    for row, (shape, style, label) in enumerate(zip(shapes, styles, labels, strict=True)):
        name, problem = f"{shape}__{style}", ""
        if prompts is not None and name not in prompts:
            continue
        said = () if prompts is None else prompts[name]
        if name in known:
            problem, name = f"row {row} repeats {name}", f"{name} row {row}"
        elif prompts is not None and not said:
            problem = "its prompts are about no part"
        elif not 0 <= label < len(classes):
            problem = f"class {label} of {len(classes)} in metadata/classes.json"
        known.add(name)
        category = "" if problem else classes[label]
        yield Entry(name, path.name, category, said, row, source.beside, problem=problem)
    for name in sorted(set(prompts or ()) - known):
        yield Entry(name, problem=f"prompt without a shape: not in {path.name}")


def _texts(path: Path, key: str) -> list[str]:
    values = h5_array(path, key).reshape(-1).tolist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def _classes_of(source: Compat200Source, path: Path, shapes: list[str]) -> list[int]:
    """Numbers of the classes, of ``metadata/labels.json`` where the test file keeps them back."""
    if not h5_has(path, "shape_label"):
        known = read_json(source.base / "metadata" / "labels.json", dict)
        numbers = (known.get(shape, -1) for shape in shapes)
        return [number if isinstance(number, int) else -1 for number in numbers]
    array = h5_array(path, "shape_label")
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: 'shape_label' is {array.dtype}, expected numbers of classes")
    found: list[int] = array.reshape(-1).tolist()
    return found


def _prompts(source: Compat200Source) -> dict[str, tuple[str, ...]] | None:
    """Texts of the prompts about parts by shape; the names of the parts where they have no text."""
    if source.prompts is None:
        return None
    path = source.base / source.prompts
    found = {}
    for name, value in read_json(path, dict).items():
        asked = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) and isinstance(one.get("masks"), list) for one in asked):
            raise DataError(f"{path}: {name!r} is no prompt with masks")
        texts = [_prompt(one) for one in asked if one.get("task", "part") == "part"]
        found[name] = tuple(dict.fromkeys(filter(None, texts)))
    return found


def _prompt(one: dict[str, Any]) -> str:
    return str(one.get("prompt") or ", ".join(map(str, one["masks"]))).strip()


def _cloud(shape: Shape) -> Cloud:
    """Points [P, 6] of a row, with part labels."""
    row = shape.row
    values = h5_array(shape.path, "points", row)
    if values.ndim != 2 or values.shape[1] != 6:
        raise RejectedItem(f"{shape.where}: points {list(values.shape)}, expected [P, 6]")
    cloud = cloud_of(values, shape.where, values[:, 3:6])
    if not h5_has(shape.path, "points_part_labels"):  # kept back for a challenge
        return replace(cloud, notes=("the file has no part labels",))
    part = h5_array(shape.path, "points_part_labels", row)
    if part.dtype == np.uint16:  # -1 of the writer
        part = part.astype(np.int16)
    names = tuple(shape.source.metadata(f"parts_{shape.source.parts}"))
    labels = labels_of(part, len(cloud.points), len(names), shape.entry.file)
    return replace(cloud, part=labels, part_names=names)


@published_source("compat200")
class Compat200Source(PublishedSource):
    """3DCoMPaT200: styled shapes, each point with its part's name.

    Attributes:
        split: Part of the benchmark to read: train, valid or test.
        parts: Level of the part labels: fine or coarse.
        prompts: JSON file of grounded prompts, relative to the root: then only shapes that it names, with the
            prompts as captions; None: all shapes, with their classes as captions.
    """

    LAYOUTS = (Layout("hdf5", ("{source.file}", "metadata/parts_{source.parts}.json"), _entries, _cloud),)
    PUBLISHED = Publication(
        "the point clouds and metadata of 3DCoMPaT200",
        "huggingface.co/datasets/CoMPaT/3DCoMPaT200",
        "CC-BY-4.0",
        "CC-BY 4.0",
    )

    split: str = one_of("test", "train", "valid")
    parts: str = one_of("fine", "coarse")
    prompts: str | None = None

    @property
    def file(self) -> str:
        """File of the split."""
        return f"{self.split}_{self.parts}.hdf5"

    @property
    def beside(self) -> tuple[str, ...]:
        """Further files that a shape is read from."""
        return (f"metadata/parts_{self.parts}.json",)

    def metadata(self, name: str) -> list[str]:
        """A list of names of the metadata.

        Raises:
            DataError: It is missing or damaged.
        """
        return [str(one) for one in read_json(self.base / "metadata" / f"{name}.json", list)]
