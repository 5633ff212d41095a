"""PartNet source: clouds of ShapeNet's models, with the parts that annotators named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import cloud_of, labels_of, number_lines, read_json
from align3d.sources.benchmarks.shapenet55 import SHAPENET_TERMS

_CLOUD = "point_sample/sample-points-all-pts-nor-rgba-10000.txt"
_LABELS = "point_sample/sample-points-all-label-10000.txt"
_COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "r", "g", "b", "a")
_MERGED, _ANNOTATED, _META = "result_after_merging.json", "result.json", "meta.json"
_SPLITS = ("train_val_test_split", "stats/train_val_test_split")


def _entries(source: PartNetSource) -> Iterator[Entry]:
    """A shape for each annotation, or for each that the lists of the split name."""
    if source.split == "all":
        found = visible(source.base.glob(f"*/{_MERGED}"), source.base)
        yield from (_entry(path.parent.name, "") for path in found)
        return
    for path in source.lists():
        category = path.name.partition(".")[0]
        for one in read_json(path, list):
            if not isinstance(one, dict) or "anno_id" not in one:
                raise DataError(f"{path}: {str(one)[:60]!r} has no anno_id")
            entry = _entry(str(one["anno_id"]), category)
            is_there = (source.base / entry.file).is_file()
            problem = "" if is_there else f"no file that {path.name} names: {entry.file}"
            yield replace(entry, problem=problem)


def _entry(annotation: str, category: str) -> Entry:
    beside = tuple(f"{annotation}/{file}" for file in (_LABELS, _MERGED, _ANNOTATED, _META))
    return Entry(annotation, f"{annotation}/{_CLOUD}", category, beside=beside)


def _cloud(shape: Shape) -> Cloud:
    """Points with the part of each: the labels are those of the annotation before its parts were merged."""
    folder = shape.source.base / shape.entry.id
    table = number_lines(shape.path, shape.where, _COLUMNS)
    labels = number_lines(folder / _LABELS, f"{shape.entry.id}/{_LABELS}", ("label",))[:, 0]
    if len(labels) != len(table):
        raise RejectedItem(f"{shape.entry.id}/{_LABELS}: {len(labels)} labels for {len(table)} points")
    merged = read_json(folder / _MERGED, list)
    parts = _merged_parts(merged, shape.source.parts == "coarse", folder / _MERGED)
    names = tuple(dict.fromkeys(filter(None, parts.values())))
    places = {"": -1, **{name: place for place, name in enumerate(names)}}
    known = _annotated_parts(read_json(folder / _ANNOTATED, list), parts, folder / _ANNOTATED)
    kinds, rows = np.unique(labels, return_inverse=True)
    if unknown := [kind for kind in kinds.tolist() if kind not in known]:
        raise RejectedItem(f"{shape.entry.id}/{_LABELS}: label {unknown[0]:g} is no part of {_ANNOTATED}")
    part = np.array([places[known[kind]] for kind in kinds.tolist()])[rows]
    cloud = cloud_of(table, shape.where, table[:, 6:9], 1.0)
    return replace(
        cloud,
        part=labels_of(part, len(table), len(names), shape.where),
        part_names=names,
        category=shape.entry.category or _category(folder, merged),
    )


def _merged_parts(tree: list[Any], is_coarse: bool, path: Path) -> dict[int, str]:
    """Names of the parts by the annotated node that each was made of; of the whole there is none.

    Args:
        tree: What ``result_after_merging.json`` holds.
        is_coarse: Whether all below a part of the whole is called by that part.
        path: The file.
    """
    found: dict[int, str] = {}
    pending: list[tuple[Any, int, str]] = [(node, 0, "") for node in reversed(tree)]
    while pending:
        node, depth, above = pending.pop()
        if not isinstance(node, dict) or not {"name", "ori_id"} <= node.keys():
            raise DataError(f"{path}: a node without name and ori_id")
        below = node.get("children") or []
        name = above if is_coarse and depth > 1 else str(node["name"])
        found[node["ori_id"]] = "" if depth == 0 and below else name
        pending += [(child, depth + 1, name) for child in reversed(below)]
    return found


def _annotated_parts(tree: list[Any], parts: Mapping[int, str], path: Path) -> dict[int, str]:
    """Name of the merged part that each annotated node belongs to: that of itself or the next one above."""
    found: dict[int, str] = {}
    pending: list[tuple[Any, str]] = [(node, "") for node in tree]
    while pending:
        node, above = pending.pop()
        if not isinstance(node, dict) or "id" not in node:
            raise DataError(f"{path}: a node without id")
        found[node["id"]] = name = parts.get(node["id"], above)
        pending += [(child, name) for child in node.get("children") or []]
    return found


def _category(folder: Path, merged: list[Any]) -> str:
    """The class that ``meta.json`` gives, else the name of the whole."""
    if (folder / _META).is_file():
        return str(read_json(folder / _META, dict).get("model_cat", ""))
    return str(merged[0]["name"]) if merged else ""


@published_source("partnet")
class PartNetSource(PublishedSource):
    """PartNet: clouds of 24 classes of ShapeNet with parts by name.

    Attributes:
        split: Part of the benchmark to read: all, or train, val or test as ``<Class>.<split>.json`` in
            ``train_val_test_split/`` or ``stats/train_val_test_split/`` list them.
        parts: Level of the part labels: fine (the least parts after merging) or coarse (the parts of the
            whole).
    """

    LAYOUTS = (Layout("txt", (f"*/{_CLOUD}",), _entries, _cloud),)
    PUBLISHED = Publication(
        "PartNet v0 (data_v0, and the lists of github.com/daerduoCarey/partnet_dataset for a split)",
        "shapenet.org, for registered users",
        *SHAPENET_TERMS,
    )

    split: str = one_of("all", "train", "val", "test")
    parts: str = one_of("fine", "coarse")

    def lists(self) -> list[Path]:
        """Lists of the split, one per class.

        Raises:
            DataError: There is none.
        """
        folders = [above / folder for above in (self.base, self.base.parent) for folder in _SPLITS]
        found = [path for folder in folders for path in visible(folder.glob(f"*.{self.split}.json"), folder)]
        if not found:
            raise DataError(
                f"split={self.split} needs the lists *.{self.split}.json of partnet_dataset in "
                f"{self.base / _SPLITS[0]}"
            )
        return found
