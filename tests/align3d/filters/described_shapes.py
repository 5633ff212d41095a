"""A source of shapes of one's own captions, each of another content unless it says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from align3d.hashing import hash_json
from align3d.record import Record, recaptioned
from align3d.sources import Item
from align3d.sources.procedural import ProceduralSource


class Described:
    """Shapes by their captions; those with one content have one hash."""

    name: ClassVar[str] = "described"
    can_crash: ClassVar[bool] = False

    def __init__(self, captions: Sequence[tuple[str, ...]], content: Sequence[int] | None = None) -> None:
        self.captions, self.content = captions, content or range(len(captions))
        self._shapes = ProceduralSource(size=len(captions), twins=0)

    def fingerprint(self) -> str:
        return hash_json([self.name, list(map(list, self.captions)), list(self.content)])

    def items(self) -> list[Item]:
        return [Item(f"shape {number}", number) for number in range(len(self.captions))]

    def read(self, item: Item, points: int, seed: int) -> Record:
        number = item.payload
        record = self._shapes.read(self._shapes.items()[number], points, seed)
        record = recaptioned(record, self.captions[number])
        return replace(record, id=item.id, source=self.name, content_hash=hash_json([self.content[number]]))
