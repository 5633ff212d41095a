"""Procedural source: any number of parametric shapes from a seed, with near-twins on purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from align3d.errors import DataError
from align3d.hashing import hash_bytes, hash_json, item_generator
from align3d.record import Record
from align3d.sampling import normalize
from align3d.sources import Item, register
from align3d.sources.procedural.attributes import Parameters, draw_values, pick, twin_changes
from align3d.sources.procedural.caption_grammar import captions
from align3d.sources.procedural.families import Family, families_named

LICENSE = "Apache-2.0"


@dataclass(frozen=True)
class Specification:
    """Specification of one record, decided before anything is built.

    Attributes:
        parameters: Family and attribute values.
        focus: The attribute in which a near-twin differs, or None for a shape without a twin.
    """

    parameters: Parameters
    focus: str | None


@register("procedural")
class ProceduralSource:
    """Parametric objects with captions and part labels.

    Record i depends on nothing but (seed, i, twins, families): a smaller dataset is the beginning of a larger
    one. Records 2k and 2k + 1 form pair k; where the pair is one of near-twins, the second differs from the
    first in exactly one attribute, and the first captions of both name it in otherwise the same words.

    Args:
        size: Number of shapes.
        seed: Seed of the parameters and captions.
        twins: Share of the shapes that come in pairs that differ in one attribute, in [0, 1].
        families: Names of the families to draw from, such as ``[chair,table]``; None: all.

    Raises:
        DataError: A setting out of its range, an unknown family.
    """

    name: ClassVar[str] = "procedural"
    can_crash: ClassVar[bool] = False

    def __init__(
        self, size: int = 2400, seed: int = 0, twins: float = 0.5, families: Sequence[str] | str | None = None
    ) -> None:
        if size < 1:
            raise DataError(f"data.size={size}: expected at least 1")
        if not 0 <= twins <= 1:
            raise DataError(f"data.twins={twins}: expected a share from 0 to 1")
        self.size, self.seed, self.twins = int(size), int(seed), float(twins)
        self._families = families_named(families)
        self.families = tuple(family.name for family in self._families)

    def fingerprint(self) -> str:
        """Hash of the settings and of this package's own code, which is all that determines the records."""
        here = Path(__file__).parent
        code = [
            hash_bytes(path.relative_to(here).as_posix().encode(), path.read_bytes().replace(b"\r\n", b"\n"))
            for path in sorted(here.rglob("*.py"))
        ]
        return hash_json(
            {
                "source": self.name,
                "size": self.size,
                "seed": self.seed,
                "twins": self.twins,
                "families": self.families,
                "code": code,
            }
        )

    def items(self) -> list[Item]:
        """One item for each record; its payload is the record's index."""
        return [Item(f"procedural-{self.seed}-{index:06d}", index) for index in range(self.size)]

    def specification(self, index: int) -> Specification:
        """The parameters of record ``index``, and how it differs from its twin."""
        pair, second = divmod(index, 2)
        rng = self._generator("pair", pair)
        family = self._family_of(pair)
        first = Parameters(family.name, draw_values(family.attributes, rng))
        if rng.random() >= self.twins:
            if second:
                first = Parameters(family.name, draw_values(family.attributes, rng))
            return Specification(first, None)
        changes = twin_changes(family.attributes, first.values)
        focus, values = changes[pick(rng, len(changes))]
        value = values[pick(rng, len(values))]
        return Specification(first.replaced(focus, value) if second else first, focus)

    def captions(self, index: int) -> tuple[str, ...]:
        """The captions of record ``index``; the first is the one that should find it."""
        return self._captions(index, self.specification(index))

    def _captions(self, index: int, spec: Specification) -> tuple[str, ...]:
        family = self._families[self.families.index(spec.parameters.family)]
        about = "query" if spec.focus is None else "query of twins"
        query = self._generator(about, index if spec.focus is None else index // 2)
        return captions(
            family.description(spec.parameters), query, self._generator("captions", index), focus=spec.focus
        )

    def read(self, item: Item, points: int, seed: int) -> Record:
        """Sample and describe one shape.

        Args:
            item: One of ``items()``.
            points: Number of points P.
            seed: Seed of the sampling; captions and parameters do not depend on it.
        """
        spec = self.specification(item.payload)
        parameters = spec.parameters
        family = self._families[self.families.index(parameters.family)]
        cloud = family.shape(parameters).sample(points, item_generator(seed, item.id))
        texts = self._captions(item.payload, spec)
        return Record(
            id=item.id,
            source=self.name,
            category=family.name,
            captions=texts,
            caption_origins=("template",) * len(texts),
            points=normalize(cloud.points),
            colors=cloud.colors,
            part=cloud.part,
            part_names=cloud.part_names,
            size_m=cloud.size.astype(np.float32),
            up_axis="z",
            license=LICENSE,
            content_hash=parameters.content_hash(),
        )

    def _generator(self, purpose: str, number: int) -> np.random.Generator:
        """A generator that depends on the seed, a purpose and a number, and on nothing else."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{number}".encode()).digest()
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest[:16], "little")))
        )

    def _family_of(self, pair: int) -> Family:
        """Every run of as many pairs as there are families holds each family once, in a random order."""
        block, place = divmod(pair, len(self._families))
        order = np.argsort(self._generator("families", block).random(len(self._families)), kind="stable")
        return self._families[int(order[place])]
