"""A source of procedural shapes that are sampled anew, turned, scaled, recolored, or said in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from align3d.hashing import hash_json
from align3d.record import Record, recaptioned
from align3d.sampling import normalize
from align3d.sources import Item
from align3d.sources.procedural import ProceduralSource


class Changed:
    """Shapes, each with its id and what is changed of the procedural shape of a number.

    A change may set ``seed`` (of the sampling), ``turn`` (degrees), ``unit`` (factor of all lengths),
    ``stretch`` (factor of the height), ``color`` (shift), ``captions``.
    """

    name: ClassVar[str] = "changed"
    can_crash: ClassVar[bool] = False

    def __init__(self, changes: Sequence[tuple[str, int, dict[str, object]]]) -> None:
        self.changes = changes
        self._shapes = ProceduralSource(size=200)

    def fingerprint(self) -> str:
        return hash_json([self.name, self.changes])

    def items(self) -> list[Item]:
        return [Item(name, (number, change)) for name, number, change in self.changes]

    def read(self, item: Item, points: int, seed: int) -> Record:
        number, change = item.payload
        shape = self._shapes.items()[number]
        record = self._shapes.read(shape, points, change.get("seed", 0))
        cloud = record.points.astype(np.float64)
        size = record.size_m.astype(np.float64)
        stretch = np.array([1, 1, change.get("stretch", 1)])
        cloud, size = cloud * stretch, size * stretch * change.get("unit", 1)
        if turn := change.get("turn"):
            cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            before = np.ptp(cloud, axis=0)
            cloud = cloud @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
            exact = size[[1, 0, 2]] if turn % 180 == 90 else size
            wide = np.r_[np.ptp(cloud, axis=0)[:2] / before[:2].max() * size[:2].max(), size[2]]
            size = wide if turn % 90 else exact
        return replace(
            recaptioned(record, change.get("captions", record.captions)),
            id=item.id,
            source=self.name,
            points=normalize(cloud),
            colors=record.colors + np.uint8(change.get("color", 0)),
            size_m=size.astype(np.float32),
            content_hash=hash_json([number, change] if change else [number]),
        )
