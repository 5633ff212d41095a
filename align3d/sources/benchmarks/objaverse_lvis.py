"""Objaverse-LVIS source: OpenShape's files, those that Uni3D made of them, and ULIP's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_values import (
    colors_of,
    is_below,
    numbers,
    points_of,
    read_json,
    read_text,
)
from align3d.sources.benchmarks.restricted_pickle import load_untrusted

_LISTS = ("split", "meta_data/split")
_TEST_SET = "lvis_testset.txt"
_ULIP_LIST, _ULIP_META = "lvis.json", "objaverse_lvis_metadata.json"
TEXTS = {"text": "text", "blip": "blip_caption", "msft": "msft_caption", "retrieval": "retrieval_text"}
"""Names of the texts that a shape's file may hold, by the name in the settings."""


@register("objaverse_lvis")
class ObjaverseLvisSource(PublishedSource):
    """Objaverse-LVIS: shapes of 1,156 classes, and OpenShape's lists for training.

    A text that the list of GPT-4's judgments marks as useless is left out. Where a file holds no texts, or
    embeddings in their place, the class is the caption.

    Args:
        root: Folder of the lists and the shapes, or one above it.
        layout: How the files lie: openshape (``split/lvis.json``), uni3d (``lvis_testset.txt``) or ulip
            (``lvis.json`` and ``objaverse_lvis_metadata.json``); None: found by what is there.
        split: Part of the benchmark to read: lvis, train_all or train_no_lvis.
        texts: Texts of a shape's file that become captions, in this order: text (the name that its maker
            gave it), blip, msft, retrieval; None: the first three.
        up: Axis that points up in the files; None: z.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "objaverse_lvis"
    LAYOUTS: ClassVar[Layouts] = {
        "openshape": ("split/*.json|meta_data/split/*.json",),
        "uni3d": (_TEST_SET,),
        "ulip": (_ULIP_LIST, _ULIP_META),
    }
    SPLITS = ("lvis", "train_all", "train_no_lvis")
    DOWNLOAD = (
        "openshape-objaverse-training-data from huggingface.co/datasets/OpenShape, or the files of "
        "github.com/baaivision/Uni3D or github.com/salesforce/ULIP"
    )
    LICENSE = "ODC-By-1.0, each shape under its own license"
    UP = "z"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        split: str = "lvis",
        texts: str | Sequence[str] | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)
        texts = ("text", "blip", "msft") if texts is None else texts
        named = texts.split(",") if isinstance(texts, str) else texts
        self.texts = tuple(self._one_of("texts", str(text).strip(), TEXTS) for text in named)

    def entries(self) -> list[Entry]:
        """Shapes of the split's list."""
        if self.layout != "openshape" and self.split != "lvis":
            raise DataError(f"data={self.name}: layout={self.layout} has the split lvis, no {self.split}")
        listed = {"openshape": self._openshape, "uni3d": self._uni3d, "ulip": self._ulip}[self.layout]()
        entries: dict[str, Entry] = {}
        for entry in listed:
            if entry.id in entries:
                raise DataError(f"data={self.name}: the list names {entry.id!r} twice")
            entries[entry.id] = entry
        return list(entries.values())

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of a pickled dict (``xyz``, ``rgb``, texts), or of a plain array [N, 3 or 6]."""
        value = load_untrusted(self.base / entry.file)
        if isinstance(value, dict):
            if "xyz" not in value:
                raise RejectedItem(f"{entry.file}: no 'xyz' in it")
            points, shades = points_of(value["xyz"], entry.file), value.get("rgb")
            captions, notes = _captions(value, entry.extra)
        else:
            table = numbers(value, entry.file)
            points = points_of(table, entry.file)
            shades = table[:, 3:6] if table.shape[1] >= 6 else None
            captions, notes = (), ()
        colors, lost = (None, ()) if shades is None else colors_of(shades, len(points), entry.file)
        return Cloud(points, colors, lost=lost, captions=captions, notes=notes)

    def _openshape(self) -> Iterator[Entry]:
        path = self._find([f"{folder}/{self.split}.json" for folder in _LISTS])
        useless = self._useless(path.parent.parent)
        for one in read_json(path, list, self.name):
            if not isinstance(one, dict) or "data_path" not in one or not ("uid" in one or "id" in one):
                raise DataError(
                    f"data={self.name}: {path}: {str(one)[:80]} has no uid or id, or no data_path"
                )
            uid = str(one.get("uid", one.get("id")))
            name = uid if self.split == "lvis" else f"{one.get('dataset', '')}/{uid}"
            yield self._entry(name, str(one["data_path"]), str(one.get("category", "")), uid in useless)

    def _uni3d(self) -> Iterator[Entry]:
        path = self.base / _TEST_SET
        for number, line in enumerate(read_text(path, self.name).splitlines(), 1):
            if not line.strip():
                continue
            label, _, rest = line.strip().partition(",")
            values = rest.rsplit(",", 2)  # a name may hold commas
            if len(values) != 3 or not label.strip().isdigit():
                raise DataError(f"data={self.name}: {path}, line {number}: expected id,name,uid,path")
            category, uid, file = (value.strip() for value in values)
            yield self._entry(uid, file, category, False)

    def _ulip(self) -> Iterator[Entry]:
        classes = read_json(self.base / _ULIP_META, dict, self.name).get("value_to_key_mapping")
        if not isinstance(classes, dict):
            raise DataError(f"data={self.name}: {_ULIP_META} has no 'value_to_key_mapping'")
        for uid, file in read_json(self.base / _ULIP_LIST, dict, self.name).items():
            entry = self._entry(uid, str(file), str(classes.get(uid, "")), False)
            known = uid in classes
            yield entry if known else Entry(uid, problem=f"no class: {_ULIP_META} does not name it")

    def _entry(self, name: str, path: str, category: str, useless: bool) -> Entry:
        file = self._local(path)
        if file is None:
            return Entry(name, problem=f"no file below the root: {path}")
        texts = tuple(text for text in self.texts if text != "text" or not useless)
        return Entry(name, file, category, extra=texts)

    def _local(self, path: str) -> str | None:
        """The file that a path of a list means: of another machine's, the longest end that is there."""
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".")]
        if ".." in parts:
            return None
        for start in range(len(parts)):
            file = "/".join(parts[start:])
            if is_below(self.base, file):
                return file
        return None

    def _useless(self, folder: Path) -> frozenset[str]:
        """Shapes whose name says nothing, as GPT-4 judged."""
        places = [folder / "gpt4_filtering.json", folder / "meta_data" / "gpt4_filtering.json"]
        path = next((path for path in places if path.is_file()), None)
        if path is None:
            return frozenset()
        flags = read_json(path, dict, self.name)
        return frozenset(
            uid for uid, one in flags.items() if isinstance(one, dict) and one.get("flag") == "N"
        )

    def _find(self, names: Sequence[str]) -> Path:
        found = next((self.base / name for name in names if (self.base / name).is_file()), None)
        if found is None:
            raise DataError(f"data={self.name}: none of {', '.join(names)} in {self.base}")
        return found


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
