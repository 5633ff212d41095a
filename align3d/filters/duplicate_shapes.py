"""Filter of shapes that are others once more: turned about the up axis, sampled anew, scaled.

Three steps, each for what the one before it left: shapes near each other by what no turn changes
(`shape_hash.invariants`, found in a tree, and `shape_hash.tints`), the turn that fits both best
(`shape_hash.differences`), and the comparison of the clouds themselves (`shape_comparison`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from align3d.console.progress import Tracker
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.filters import register
from align3d.filters.metric_sizes import Sizes, agree, may_be, metric_radius
from align3d.filters.protocol import Remaining
from align3d.filters.shape_comparison import Likeness, best_turns, compare
from align3d.filters.shape_hash import Floats, coefficients, differences, invariants, stand, tints
from align3d.hashing import hash_code, hash_json
from align3d.sampling import rotate_up

_AT_ONCE = 64
"""Shapes that are read at once."""
_NEAR, _CLOSE, _TINTED = 7.5, 20.0, 10.0
"""Distances of invariants, of coefficients and of tints up to which two samples of one shape lie, times the
root of their number of points: sampling's noise falls with it."""
_BEYOND, _APART = 0.045, 0.01
"""Largest ``Likeness.beyond`` and ``Likeness.apart`` of two samples of one shape."""
_LOOKS = 32
"""Shapes that one is compared with at most, the nearest first."""
_DIMENSIONS = 8
"""Dimensions of the tree, those along which the shapes differ most."""


@register
class DuplicateShapes:
    """Shapes that are an earlier one once more, turned about the up axis, sampled anew, or scaled.

    Args:
        distance: Mean distance of two clouds to each other over that within each, above which they are of
            different shapes; two samples of one shape have 1.
        sizes: Metric sizes of duplicates: the same, the same up to a mistaken ``unit``, or any with the
            same proportions.
        tolerance: Largest relative difference of sizes that count as the same.
        colors: Whether shapes of different colors are different.
        numbers: Whether shapes are different whose captions name different numbers, such as pins and pitches:
            details that a cloud of points does not show.
        turned: Whether shapes that are turned about the up axis are duplicates.
        content: Whether shapes of the same content hash go without being compared.
    """

    name: ClassVar[str] = "duplicate_shapes"

    def __init__(
        self,
        distance: Annotated[float, Gt(1)] = 1.1,
        sizes: Sizes = "unit",
        tolerance: Annotated[float, Gt(0)] = 0.005,
        colors: bool = True,
        numbers: bool = True,
        turned: bool = True,
        content: bool = True,
    ) -> None:
        self.distance, self.sizes, self.tolerance = distance, sizes, tolerance
        self.colors, self.numbers, self.turned, self.content = colors, numbers, turned, content

    def fingerprint(self) -> str:
        """Sha256 of the settings and the code."""
        parts = ("duplicate_shapes", "metric_sizes", "shape_comparison", "shape_hash")
        code = hash_code(*(f"align3d.filters.{part}" for part in parts))
        return hash_json([self.name, vars(self), code])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Reject every shape that is an earlier one; the first of each group stays."""
        dataset = remaining.dataset
        for row, first in self.duplicates(remaining, progress=progress):
            same = dataset.content_hashes[row] == dataset.content_hashes[first]
            note = ", the same content" if same else ""
            yield remaining.reject(row, f"duplicate shape: of {dataset.ids[first]}{note}", self.name)

    def duplicates(self, remaining: Remaining, *, progress: bool = True) -> Iterator[tuple[int, int]]:
        """Rows of duplicates, each with the row of the shape that it repeats, ascending."""
        dataset, rows = remaining.dataset, remaining.rows
        firsts: dict[str, int] = {}
        repeats: dict[int, int] = {}
        for row in rows.tolist() if self.content else ():
            if (first := firsts.setdefault(dataset.content_hashes[row], row)) != row:
                repeats[row] = first
        unlike = rows[[row not in repeats for row in rows.tolist()]].astype(np.int64)
        said = [numbers_of(texts) for texts in remaining.captions] if self.numbers else []
        numbers = {row: each for row, each in zip(rows.tolist(), said, strict=False) if row not in repeats}
        found = _Found(self, dataset, unlike, list(numbers.values()), progress)
        with Tracker("comparing shapes", len(rows), "shapes", patience=2.0, enabled=progress) as bar:
            place = 0
            for row in rows.tolist():
                bar.advance()
                if row in repeats:
                    first = repeats[row]
                    yield row, int(unlike[found.first_of.get(found.place_of[first], found.place_of[first])])
                    continue
                if (first_place := found.earlier(place)) is not None:
                    yield row, int(unlike[first_place])
                place += 1

    def is_same(self, likeness: Likeness) -> bool:
        """Whether two clouds are of one shape."""
        if not self.turned and abs((likeness.turn + np.pi) % (2 * np.pi) - np.pi) > _STRAIGHT:
            return False
        return likeness.distance <= self.distance and likeness.beyond <= _BEYOND and likeness.apart <= _APART


_STRAIGHT = 0.05
"""Angle in radians up to which a shape is not turned."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def numbers_of(captions: Iterable[str]) -> frozenset[float | str]:
    """The numbers that captions name: ``["SOT-23, 0.95mm"]`` has 23 and 0.95."""
    found = (number.replace(",", ".") for text in captions for number in _NUMBER.findall(text))
    return frozenset(float(number) if number.count(".") < 2 else number for number in found)


class _Found:
    """Shapes in a tree of their invariants, and those that turned out to be earlier ones.

    Attributes:
        first_of: Place of the first of its group, by the place of each duplicate so far.
        place_of: Place of each row.
    """

    def __init__(
        self,
        settings: DuplicateShapes,
        dataset: ShapeDataset,
        rows: NDArray[np.int64],
        numbers: Sequence[frozenset[float | str]],
        progress: bool,
    ) -> None:
        self.settings, self.dataset, self.rows, self._numbers = settings, dataset, rows, numbers
        self.place_of = {row: place for place, row in enumerate(rows.tolist())}
        self.first_of: dict[int, int] = {}
        scale = np.sqrt(dataset.num_points)
        self._near, self._close, self._tinted = _NEAR / scale, _CLOSE / scale, _TINTED / scale
        sizes = dataset.size_m(rows).astype(np.float64)
        # Extents have no sign: what turns points up, exchanges them.
        self._extents = np.abs(rotate_up(sizes, dataset.up_axis))
        parts, radii, colors = [], [], []
        with Tracker("hashing shapes", len(rows), "shapes", patience=2.0, enabled=progress) as bar:
            for start in range(0, len(rows), _AT_ONCE):
                stop = start + _AT_ONCE
                clouds = self._standing(rows[start:stop])
                parts.append(coefficients(clouds))
                radii.append(metric_radius(self._extents[start:stop], clouds))
                if settings.colors:
                    colors.append(tints(clouds, dataset.colors(rows[start:stop])))
                bar.advance(len(clouds))
        if not parts:
            return
        self._coefficients = np.concatenate(parts)
        self._radii = np.concatenate(radii)
        self._tints = np.concatenate(colors) if colors else None
        self._tree = cKDTree(_main_axes(invariants(self._coefficients)))

    def earlier(self, place: int) -> int | None:
        """Place of the shape that the one at a place repeats; None for the first of its kind."""
        near = self._tree.query_ball_point(self._tree.data[place], self._near)
        firsts = (one for one in near if one < place and one not in self.first_of)
        candidates = np.array(sorted(one for one in firsts if self._may_be_said(place, one)), dtype=np.int64)
        settings, extents = self.settings, self._extents
        if len(candidates):
            radii = self._radii[place] / self._radii[candidates]
            fits = may_be(extents[place], extents[candidates], radii, settings.sizes, settings.tolerance)
            candidates = candidates[fits]
        if self._tints is not None:
            apart = np.linalg.norm(self._tints[candidates] - self._tints[place], axis=1)
            candidates = candidates[apart <= self._tinted]
        if not len(candidates):
            return None
        at_turns = differences(self._coefficients[place], self._coefficients[candidates])
        if not settings.turned:
            at_turns = at_turns[:, :1]
        least = at_turns.min(axis=1)
        points, colors = self._standing(self.rows[[place]])[0], self._colors(place)
        for number in np.argsort(least, kind="stable")[:_LOOKS].tolist():
            if least[number] > self._close:
                break
            other = int(candidates[number])
            turns = np.zeros(1)
            if settings.turned:  # quarter turns first: there boxes can be compared
                turns = np.concatenate([np.arange(4) * (np.pi / 2), best_turns(at_turns[number])])
            both = (colors, self._colors(other)) if settings.colors else None
            likeness = compare(points, self._standing(self.rows[[other]])[0], turns, both, settings.distance)
            if settings.is_same(likeness) and agree(
                extents[place], extents[other], likeness.turn, settings.sizes, settings.tolerance
            ):
                self.first_of[place] = other
                return other
        return None

    def _may_be_said(self, one: int, other: int) -> bool:
        """Whether captions of two shapes can be about one: all numbers of one are the other's too."""
        if not self.settings.numbers:
            return True
        fewer, more = sorted((self._numbers[one], self._numbers[other]), key=len)
        return fewer <= more

    def _standing(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Clouds with z up, centered and scaled, f32[n, P, 3]."""
        points: Floats = self.dataset.points(rows)
        if self.dataset.up_axis != "z":
            points = rotate_up(points.astype(np.float32), self.dataset.up_axis)
        return stand(points).points

    def _colors(self, place: int) -> Floats:
        return self.dataset.colors(self.rows[[place]])[0].astype(np.float32) / 255


def _main_axes(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Vectors [n, D] along the directions in which they differ most, f64[n, at most `_DIMENSIONS`]."""
    centered = values.astype(np.float64) - values.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    return centered @ axes[:, ::-1][:, :_DIMENSIONS]
