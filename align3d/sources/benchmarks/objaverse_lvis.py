"""Objaverse-LVIS source: OpenShape's files, those that Uni3D made of them, and ULIP's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem, did_you_mean
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.benchmarks.published_values import (
    cloud_of,
    is_below,
    numbers,
    read_json,
    read_text,
)
from align3d.sources.benchmarks.restricted_pickle import load_untrusted

_LISTS = ("split", "meta_data/split")
_TEST_SET = "lvis_testset.txt"
_ULIP_LIST, _ULIP_META = "lvis.json", "objaverse_lvis_metadata.json"
TEXTS = {"text": "text", "blip": "blip_caption", "msft": "msft_caption", "retrieval": "retrieval_text"}
"""Names of the texts that a shape's file may hold, by the name in the settings."""


def _openshape(source: ObjaverseLvisSource) -> Iterator[Entry]:
    lists = (source.base / folder / f"{source.split}.json" for folder in _LISTS)
    path = next(path for path in lists if path.is_file())
    useless = _useless(path.parent.parent)
    for one in read_json(path, list):
        if not isinstance(one, dict) or "data_path" not in one or not ("uid" in one or "id" in one):
            raise DataError(f"{path}: {str(one)[:80]} has no uid or id, or no data_path")
        uid = str(one.get("uid", one.get("id")))
        name = uid if source.split == "lvis" else f"{one.get('dataset', '')}/{uid}"
        entry = _entry(source.base, name, str(one["data_path"]), str(one.get("category", "")))
        yield replace(entry, extra="useless" if uid in useless else None)


def _uni3d(source: ObjaverseLvisSource) -> Iterator[Entry]:
    path = source.base / _TEST_SET
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        label, _, rest = line.strip().partition(",")
        values = rest.rsplit(",", 2)  # a name may hold commas
        if len(values) != 3 or not label.strip().isdigit():
            raise DataError(f"{path}, line {number}: expected id,name,uid,path")
        category, uid, file = (value.strip() for value in values)
        yield _entry(source.base, uid, file, category)


def _ulip(source: ObjaverseLvisSource) -> Iterator[Entry]:
    classes = read_json(source.base / _ULIP_META, dict).get("value_to_key_mapping")
    if not isinstance(classes, dict):
        raise DataError(f"{_ULIP_META} has no 'value_to_key_mapping'")
    for uid, file in read_json(source.base / _ULIP_LIST, dict).items():
        known = uid in classes
        entry = _entry(source.base, uid, str(file), str(classes.get(uid, "")))
        yield entry if known else Entry(uid, problem=f"no class: {_ULIP_META} does not name it")


def _entry(base: Path, name: str, path: str, category: str) -> Entry:
    file = _local(base, path)
    if file is None:
        return Entry(name, problem=f"no file below the root: {path}")
    return Entry(name, file, category)


def _local(base: Path, path: str) -> str | None:
    """The file that a path of a list means: of another machine's, the longest end that is there."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".")]
    if ".." in parts:
        return None
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((file for file in ends if is_below(base, file)), None)


def _useless(folder: Path) -> frozenset[str]:
    """Shapes whose name says nothing, as GPT-4 judged."""
    places = [folder / "gpt4_filtering.json", folder / "meta_data" / "gpt4_filtering.json"]
    path = next((path for path in places if path.is_file()), None)
    flags = {} if path is None else read_json(path, dict)
    return frozenset(uid for uid, one in flags.items() if isinstance(one, dict) and one.get("flag") == "N")


def _cloud(shape: Shape) -> Cloud:
    """Points of a pickled dict (``xyz``, ``rgb``, texts), or of a plain array [N, 3 or 6]."""
    value = load_untrusted(shape.path)
    if isinstance(value, dict):
        if "xyz" not in value:
            raise RejectedItem(f"{shape.where}: no 'xyz' in it")
        is_useless = shape.entry.extra is not None
        texts = [text for text in shape.source.wanted_texts if text != "text" or not is_useless]
        captions, notes = _captions(value, texts)
        cloud = cloud_of(value["xyz"], shape.where, value.get("rgb"), 255.0)
        return replace(cloud, captions=captions, notes=notes)
    table = numbers(value, shape.where)
    has_colors = table.ndim == 2 and table.shape[1] >= 6
    return cloud_of(table, shape.where, table[:, 3:6] if has_colors else None)


def _captions(value: dict[str, Any], texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The captions of a shape's file, and what stood in their place."""
    captions: list[str] = []
    notes = []
    named = {str(key).rstrip(";"): one for key, one in value.items()}  # of one release: "blip_caption;"
    for text in texts:
        found = named.get(TEXTS[text])
        is_list = isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.ndim > 0)
        several: list[Any] = [*found] if is_list and found is not None else [found]
        strings = [one.strip() for one in several if isinstance(one, str)]
        if found is not None and len(several) and not strings:
            notes.append(f"{TEXTS[text]} holds numbers, not texts: embeddings?")
        captions += filter(None, strings)
    return tuple(dict.fromkeys(captions)), tuple(notes)


@published_source("objaverse_lvis")
class ObjaverseLvisSource(PublishedSource):
    """Objaverse-LVIS: shapes of 1,156 classes, and OpenShape's lists for training.

    A text that the list of GPT-4's judgments marks as useless is left out. Where a file holds no texts, or
    embeddings in their place, the class is the caption.

    Attributes:
        layout: How the files lie: openshape (``split/lvis.json``), uni3d (``lvis_testset.txt``) or ulip
            (``lvis.json`` and ``objaverse_lvis_metadata.json``); None: found by what is there.
        split: Part of the benchmark to read: lvis; of OpenShape's lists also train_all or train_no_lvis.
        texts: Texts of a shape's file that become captions, in this order: text (the name that its maker
            gave it), blip, msft, retrieval; None: the first three.
    """

    LAYOUTS = (
        Layout(
            "openshape",
            ("split/{source.split}.json|meta_data/split/{source.split}.json",),
            _openshape,
            _cloud,
            "z",
        ),
        Layout("uni3d", (_TEST_SET,), _uni3d, _cloud, "z"),
        Layout("ulip", (_ULIP_LIST, _ULIP_META), _ulip, _cloud),
    )
    PUBLISHED = Publication(
        "meta_data.zip and Objaverse/ of OpenShape, or the files of Uni3D or ULIP",
        "huggingface.co/datasets/OpenShape/openshape-training-data, github.com/baaivision/Uni3D or "
        "github.com/salesforce/ULIP",
        "ODC-By-1.0",
        "OpenRAIL for OpenShape's files; Objaverse is ODC-By 1.0, each shape under its own license",
    )

    split: str = one_of("lvis", "train_all", "train_no_lvis")
    texts: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.wanted_texts:
            if text not in TEXTS:
                expected = f"expected {' or '.join(TEXTS)}{did_you_mean(text, TEXTS)}"
                raise DataError(f"data={self.name}: texts={text!r}, {expected}")

    @property
    def wanted(self) -> list[Layout]:
        """Layouts that are looked for; lists for training are OpenShape's alone."""
        return [one for one in super().wanted if self.split == "lvis" or one.name == "openshape"]

    @property
    def wanted_texts(self) -> tuple[str, ...]:
        """Texts that become captions, by their names in the settings."""
        texts = ("text", "blip", "msft") if self.texts is None else self.texts
        return tuple(str(one).strip() for one in (texts.split(",") if isinstance(texts, str) else texts))
