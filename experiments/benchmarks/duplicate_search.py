"""Recall and precision of the search for duplicate shapes, and its time per shape."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.filters import decisions_of, make_filter
from align3d.hashing import hash_bytes, item_generator
from align3d.pipeline import build
from align3d.record import Record
from align3d.sampling import normalize
from align3d.sources import Item, Source, make_source
from experiments.benchmarks.base import Row, benchmark

AGAIN = " again"
_DENSER = 16


class Twice:
    """A source's shapes and, behind all of them, each once more: sampled anew, turned, of another content.

    Every other one is turned by a quarter, for which its box is known, the rest by any angle.

    Args:
        source: The source.
    """

    name: ClassVar[str] = "twice"

    def __init__(self, source: Source) -> None:
        self.source = source

    def fingerprint(self) -> str:
        """That of the source."""
        return hash_bytes(self.source.fingerprint().encode())

    def items(self) -> list[Item]:
        """The source's items, and as many more."""
        items = self.source.items()
        more = [Item(item.id + AGAIN, (item, place)) for place, item in enumerate(items)]
        return [Item(item.id, (item, -1)) for item in items] + more

    def read(self, item: Item, points: int, seed: int) -> Record:
        """A shape, or a copy of it."""
        own, place = item.payload
        if place < 0:
            return self.source.read(own, points, seed)
        record = self.source.read(own, points, seed + 1)
        angle = np.pi / 2 if place % 2 else item_generator(seed, item.id).uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        cloud = record.points.astype(np.float64)
        turned = cloud @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
        size = record.size_m[[1, 0, 2]]
        if not place % 2:  # the box of the turned shape, from a denser sample
            dense = self.source.read(own, _DENSER * points, seed).points.astype(np.float64)
            meters = np.min(record.size_m / np.maximum(np.ptp(dense, axis=0), 1e-6))
            wide = np.ptp(dense[:, :2] @ np.array([[cos, -sin], [sin, cos]]).T, axis=0)
            size = np.append(meters * wide, record.size_m[2]).astype(np.float32)
        content = hash_bytes(record.content_hash.encode(), b"again")
        return replace(record, id=item.id, points=normalize(turned), size_m=size, content_hash=content)


@benchmark("duplicates")
def duplicates(
    data: str = "procedural", size: int = 600, points: int = 2048, root: str | None = None
) -> Iterator[Row]:
    """Search for duplicate shapes: recall on copies, and other shapes that are taken for copies.

    Args:
        data: Source of shapes whose up axis is z.
        size: Number of shapes, of which each is there twice.
        points: Points of a shape.
        root: Folder of the source, where it has one.
    """
    source = make_source(data, size=size, root=root)
    with tempfile.TemporaryDirectory() as folder:
        dataset = build(Twice(source), Path(folder) / "twice", points=points, workers=1)
        for settings in ({}, {"numbers": False}, {"numbers": False, "colors": False}):
            named = ", ".join(f"{key}={value}".lower() for key, value in settings.items())
            case = f"{data}, {named or 'default'}"
            started = time.process_time()
            made = decisions_of(dataset, [make_filter("duplicate_shapes", **settings)], progress=False)
            spent = time.process_time() - started
            firsts = {
                one.item: one.reason.removeprefix("duplicate shape: of ").removesuffix(", the same content")
                for one in made
            }
            contents = dict(zip(dataset.ids, dataset.content_hashes, strict=True))
            copies = [name for name in dataset.ids if name.endswith(AGAIN)]
            found, wrong = {0: 0, 1: 0}, 0
            for place, name in enumerate(copies):
                own = name.removesuffix(AGAIN)
                first = firsts.get(name, "")
                # A shape that is taken for another takes its copy along.
                alike = first in (own, firsts.get(own)) or contents.get(first) == contents.get(own)
                found[place % 2] += bool(first) and alike
                wrong += bool(first) and not alike
            others = sum(
                contents[name] != contents[first]
                for name, first in firsts.items()
                if not name.endswith(AGAIN)
            )
            right = sum(found.values())
            yield Row("duplicates", case, "recall, any turn", found[0] / max(len(copies[::2]), 1))
            yield Row("duplicates", case, "recall, quarter turn", found[1] / max(len(copies[1::2]), 1))
            yield Row("duplicates", case, "precision", right / max(right + wrong + others, 1))
            yield Row("duplicates", case, "other shapes taken for copies", others + wrong)
            yield Row("duplicates", case, "ms of CPU per shape", 1e3 * spent / len(dataset))
