"""Partitions of vectors over shards: by a hash of the id, or by the cells of a coarse tree with their bounds.

A cell is a centroid and what lies nearest to it. With the largest angle ``a`` between the centroid and a
vector of the cell, and the lengths that these have, no inner product of a query with them exceeds

    |q| * length * cos(max(0, angle(q, centroid) - a)),

the length being the longest, or the shortest where the cosine is negative. A shard none of whose cells can
reach the ``k``-th score that is known already cannot contribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import SAMPLE_PER_LEAF, Floats, Ints, SemanticHierarchy, distinct
from retrieval.storage import StoredArrays

By = Literal["tree", "hash"]
WAYS: tuple[By, ...] = get_args(By)
CELLS = 16
"""Cells of a shard: as many as balance shards to a few hundredths, and are compared in no time."""
MOST_SHARDS = 4096
_CHUNK = 16_384
_ANGLE_SLACK = 1e-3  # radians: the arc cosine of a float32 product that is 1 up to rounding
_SLACK = {"float32": 1e-5, "float16": 2e-3}  # of the product of the lengths: rounding of scores and vectors
_FEWEST_CELLS = 12  # as the descent of one index keeps, see `retrieval.ers.beam_search.level_widths`


@dataclass(frozen=True)
class Routes:
    """Shards that queries are sent to.

    Attributes:
        home: ``[Q]`` the shard that is asked first, whose scores tell what others must reach.
        near: ``[Q, S]`` whether the descent reaches a cell of the shard.
        bounds: ``[Q, S]`` scores that no vector of the shard exceeds, minus infinity for none.
    """

    home: Ints
    near: NDArray[np.bool_]
    bounds: NDArray[np.float64]


class Partition(Protocol):
    """A partition of vectors over ``shards`` shards."""

    by: By
    shards: int

    def assign(self, vectors: Floats, ids: Ints) -> Ints:
        """``[n]`` the shard of vectors ``[n, D]`` with their ids ``[n]``."""

    def widen(self, vectors: Floats) -> None:
        """Makes bounds wide enough for vectors ``[n, D]`` that come."""

    def owners(self, ids: Ints) -> Ints | None:
        """``[n]`` the shard of each id; None where only the shards know."""

    def route(self, queries: Floats, share: float) -> Routes | None:
        """Where queries ``[Q, D]`` are sent, keeping a share of the cells; None for everywhere at once."""

    def arrays(self) -> dict[str, NDArray]:
        """The partition as arrays that `read_partition` reads."""


class HashPartition:
    """Shards by a hash of the id, SplitMix64: even whatever comes, and every query asks all of them."""

    by: By = "hash"

    def __init__(self, shards: int) -> None:
        self.shards = shards

    def assign(self, vectors: Floats, ids: Ints) -> Ints:
        """See `Partition`."""
        return self.owners(ids)

    def widen(self, vectors: Floats) -> None:
        """See `Partition`."""

    def owners(self, ids: Ints) -> Ints:
        """See `Partition`."""
        mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return (mixed % np.uint64(self.shards)).astype(np.int64)

    def route(self, queries: Floats, share: float) -> None:
        """See `Partition`."""

    def arrays(self) -> dict[str, NDArray]:
        """See `Partition`."""
        return {}


class TreePartition:
    """Shards by the cells of a coarse tree over the vectors, neighboring cells in one shard.

    Args:
        centroids: ``[M, D]`` of unit length.
        shard_of_cell: ``[M]``.
        shards: Number of shards.
        extent: ``[3, M]`` float64: the largest angle of a cell (-1: it has no vector), its longest and its
            shortest vector. Bounds only grow; removals leave them.
        precision: Of the vectors that are kept, ``"float32"`` or ``"float16"``.
    """

    by: By = "tree"

    def __init__(
        self,
        centroids: Floats,
        shard_of_cell: Ints,
        shards: int,
        extent: NDArray[np.float64],
        precision: str = "float32",
    ) -> None:
        self.centroids, self.shard_of_cell, self.shards = centroids, shard_of_cell, shards
        self.extent = extent
        self._slack = _SLACK[precision]

    @classmethod
    def train(cls, vectors: Floats, shards: int, seed: int = 0, precision: str = "float32") -> TreePartition:
        """A partition of vectors ``[N, D]``, of which it reads a sample; `widen` it by them all."""
        cells = min(CELLS * shards, len(vectors))
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(vectors), min(len(vectors), SAMPLE_PER_LEAF * cells), replace=False))
        sample = distinct(np.asarray(vectors[rows], np.float32))
        tree = SemanticHierarchy.train(sample, min(cells, len(sample)), depth=1, seed=seed)
        centroids = tree.centroids[0]
        sizes = np.bincount(_nearest(centroids, sample), minlength=len(centroids))
        shard_of_cell = np.empty(len(centroids), np.int64)
        for shard, some in enumerate(_even_parts(centroids, sizes, np.arange(len(centroids)), shards)):
            shard_of_cell[some] = shard
        return cls(centroids, shard_of_cell, shards, _no_extent(len(centroids)), precision)

    def assign(self, vectors: Floats, ids: Ints) -> Ints:
        """See `Partition`."""
        return self.shard_of_cell[_nearest(self.centroids, vectors)]

    def widen(self, vectors: Floats) -> None:
        """See `Partition`."""
        for at in range(0, len(vectors), _CHUNK):
            some = np.asarray(vectors[at : at + _CHUNK], np.float64)
            cells = _nearest(self.centroids, some)
            lengths = np.sqrt(np.einsum("nd,nd->n", some, some))
            cosines = np.einsum("nd,nd->n", some, self.centroids[cells].astype(np.float64)) / lengths
            angles, longest, shortest = self.extent
            np.maximum.at(angles, cells, np.arccos(np.clip(cosines, -1, 1)) + _ANGLE_SLACK)
            np.maximum.at(longest, cells, lengths)
            np.minimum.at(shortest, cells, lengths)

    def owners(self, ids: Ints) -> None:
        """See `Partition`."""

    def route(self, queries: Floats, share: float) -> Routes:
        """See `Partition`; like the descent of one index it keeps twelve cells at least."""
        wide = queries.astype(np.float64)
        lengths = np.sqrt(np.einsum("qd,qd->q", wide, wide))[:, None]
        cosines = np.clip(wide @ self.centroids.T.astype(np.float64) / lengths, -1, 1)
        angles, longest, shortest = self.extent
        there = angles >= 0
        highest = np.cos(np.maximum(0, np.arccos(cosines) - angles))
        bounds = highest * np.where(highest < 0, shortest, longest) + self._slack * longest
        bounds = np.where(there, bounds * lengths, -np.inf)
        ranks = np.where(there, cosines * longest, -np.inf)
        kept = min(len(there), max(_FEWEST_CELLS, int(np.ceil(share * len(there)))))
        near_cells = np.argpartition(-ranks, kept - 1, axis=1)[:, :kept]
        near = np.zeros((len(queries), self.shards), bool)
        np.put_along_axis(near, self.shard_of_cell[near_cells], True, axis=1)
        by_shard = np.full((self.shards, len(queries)), -np.inf)
        np.maximum.at(by_shard, self.shard_of_cell, bounds.T)
        return Routes(self.shard_of_cell[ranks.argmax(axis=1)], near, by_shard.T)

    def arrays(self) -> dict[str, NDArray]:
        """See `Partition`."""
        return {"centroids": self.centroids, "shard_of_cell": self.shard_of_cell, "extent": self.extent}


def read_partition(
    by: By, shards: int, arrays: StoredArrays, width: int, precision: str = "float32"
) -> Partition:
    """The partition that wrote ``arrays``.

    Raises:
        DamagedFileError: An array is missing, or has another shape or numbers out of range.
    """
    if by == "hash":
        return HashPartition(shards)
    centroids = arrays.take("centroids", np.float32, (None, width), -1.001, 1.001)
    cells = len(centroids)
    arrays.expect(cells > 0, "it has no cell")
    shard_of_cell = arrays.take("shard_of_cell", np.int64, (cells,), 0, shards - 1)
    extent = arrays.take("extent", np.float64, (3, cells), -1)
    return TreePartition(centroids, shard_of_cell, shards, extent.copy(), precision)


def _no_extent(cells: int) -> NDArray[np.float64]:
    """Of cells without vectors."""
    return np.repeat([[-1.0], [0.0], [np.inf]], cells, axis=1)


def _nearest(centroids: Floats, vectors: NDArray[np.floating]) -> Ints:
    """``[N]`` the cell of each vector."""
    found = np.empty(len(vectors), np.int64)
    for at in range(0, len(vectors), _CHUNK):
        some = np.asarray(vectors[at : at + _CHUNK], np.float32)
        found[at : at + _CHUNK] = (some @ centroids.T).argmax(axis=1)
    return found


def _even_parts(centroids: Floats, sizes: Ints, cells: Ints, parts: int) -> list[Ints]:
    """Cells ``[m]`` in parts of about equal size, each cut off along the widest direction of what is left."""
    if parts == 1:
        return [cells]
    if len(cells) < 2:
        return [cells, *([cells[:0]] * (parts - 1))]
    weights = sizes[cells] / max(1, sizes[cells].sum())
    offset = centroids[cells] - weights @ centroids[cells]
    direction = np.linalg.svd(offset * np.sqrt(weights)[:, None], full_matrices=False)[2][0]
    order = cells[np.argsort(offset @ direction, kind="stable")]
    few = parts // 2
    passed = np.cumsum(sizes[order]) / max(1, sizes[order].sum())
    cut = int(np.clip(np.abs(passed - few / parts).argmin() + 1, 1, len(order) - 1))
    return [
        *_even_parts(centroids, sizes, order[:cut], few),
        *_even_parts(centroids, sizes, order[cut:], parts - few),
    ]
