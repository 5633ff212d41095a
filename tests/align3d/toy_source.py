"""A source in one file: boxes whose size follows from their number. Every seventh has no surface."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import RejectedItem
from align3d.hashing import hash_json, item_generator
from align3d.record import Record
from align3d.sampling import extent_m, normalize, sample_surface
from align3d.sources import Item

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
FACES = np.array([[a, b, c] for quad in QUADS for a, b, c in (quad[:3], [quad[0], *quad[2:]])])


class Boxes:
    name: ClassVar[str] = "boxes"

    def __init__(
        self,
        size: int = 10,
        stop_at: int | None = None,
        die_at: int | None = None,
        die_every: int | None = None,
        died: str | None = None,
    ) -> None:
        self.size, self.stop_at, self.die_at, self.die_every, self.died = (
            size,
            stop_at,
            die_at,
            die_every,
            died,
        )
        self.can_crash = die_at is not None or die_every is not None

    def fingerprint(self) -> str:
        return hash_json(["boxes", self.size])

    def items(self) -> list[Item]:
        return [Item(f"box-{number:04d}", number) for number in range(self.size)]

    def read(self, item: Item, points: int, seed: int) -> Record:
        number = int(item.payload)
        if number == self.stop_at:
            raise KeyboardInterrupt
        is_fatal = number == self.die_at or (self.die_every and number % self.die_every == 1)
        if is_fatal and not (self.died and Path(self.died).exists()):
            if self.died:  # the first time alone
                Path(self.died).touch()
            os.kill(os.getpid(), signal.SIGKILL)  # as a crash in a reader would, or the kernel
        if number % 7 == 6:
            raise RejectedItem("a box of no size")
        size = [1.0 + number % 3, 1.0 + number % 5, 0.5]
        triangles = (CORNERS * size)[FACES]
        sampled, face, _ = sample_surface(triangles, points, item_generator(seed, item.id))
        return Record(
            id=item.id,
            source=self.name,
            category=f"{number % 3 + 1} wide",
            captions=(f"box number {number}", f"a box of {size[0]:g} x {size[1]:g}"),
            points=normalize(sampled),
            colors=np.full((points, 3), number % 256, dtype=np.uint8),
            part=(face // 2).astype(np.int16),
            part_names=("left", "right", "front", "back", "bottom", "top"),
            size_m=extent_m(triangles.reshape(-1, 3)),
            up_axis="z",
            license="CC0-1.0",
            content_hash=hash_json(size),
        )


class Sudden(Boxes):
    """Boxes that say they cannot end the process that reads them, and do."""

    def __init__(self, size: int = 10, die_at: int | None = None) -> None:
        super().__init__(size, die_at=die_at)
        self.can_crash = False
