"""Folded vectors: recall and hubness as one inner product, which any index can search.

With a query ``q``, what known pairs recall for it ``r``, a vector ``s`` and its hubness ``h``
(`retrieval.memory.known_pairs`)

    query:   [q + a r,  -λ,     0,                          0 ...]
    vector:  [s,        h - h̄,  sqrt(H² - (h - h̄)²),        0 ...]

have the inner product ``(q + a r) . s - λ (h - h̄)``. The strengths ``a`` and ``λ`` stand on the query's side
alone and may change from query to query; nothing is rebuilt. The last column gives all vectors of unit
length the one length ``sqrt(1 + H²)``, so that what is made for the cosine (spherical k-means, graphs by
Euclidean distance) ranks by it; queries do not see it.

``H`` leaves room for vectors that come later. What still exceeds it gets 0 there: its inner products are
exact all the same, it is merely a little longer than the others. Zero columns fill the width up to a
multiple of four, as product codes want an even width and 4-bit codes pairs of them; the others do not mind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.validation import real

Floats = NDArray[np.float32]

SLACK = 1.5
"""``H`` by the largest distance of a hubness from the mean when the index is built."""
MULTIPLE = 4
"""Of the folded width."""
_MOST_HUBNESS = 1e31  # the longest vectors' product


@dataclass(frozen=True)
class Folding:
    """Parameters by which vectors of one index are folded.

    Attributes:
        width: D of what is folded.
        mean: ``h̄``, the mean hubness when the index was built.
        reach: ``H``, 0 or more.
    """

    width: int
    mean: float
    reach: float

    @classmethod
    def of(cls, width: int, hubness: NDArray[np.float32]) -> Folding:
        """The folding for vectors of ``width`` with hubness ``[N]``, at least one."""
        mean = float(hubness.mean(dtype=np.float64))
        return cls(width, mean, SLACK * float(np.abs(hubness - mean).max()))

    def check(self, width: int) -> None:
        """Refuses numbers that `of` never makes for vectors of ``width``; else a ValueError."""
        if self.width != width:
            raise ValueError(f"width={self.width!r}: expected {width}, as the known pairs have")
        real("mean", self.mean, -_MOST_HUBNESS, _MOST_HUBNESS)
        real("reach", self.reach, 0, SLACK * 2 * _MOST_HUBNESS)

    @property
    def folded_width(self) -> int:
        """``D + 2``, filled up."""
        return folded_width(self.width)


def folded_width(width: int) -> int:
    """Width of folded vectors: ``D + 2``, filled up."""
    return -(-(width + 2) // MULTIPLE) * MULTIPLE


def fold_vectors(vectors: NDArray[np.float32], hubness: NDArray[np.float32], folding: Folding) -> Floats:
    """Folds vectors ``[N, D]`` with hubness ``[N]``: ``[N, folded_width]``, their first columns as given.

    Raises:
        ValueError: If widths or numbers differ.
    """
    vectors = _checked(vectors, "vectors", folding)
    if hubness.shape != (len(vectors),):
        raise ValueError(f"hubness {hubness.shape} for {len(vectors)} vectors: expected one number a vector")
    offset = hubness.astype(np.float64) - folding.mean
    folded = np.zeros((len(vectors), folding.folded_width), np.float32)
    folded[:, : folding.width] = vectors
    folded[:, folding.width] = offset
    folded[:, folding.width + 1] = np.sqrt(np.maximum(folding.reach**2 - offset**2, 0))
    return folded


def fold_queries(
    queries: NDArray[np.float32],
    recalled: NDArray[np.float32],
    folding: Folding,
    *,
    recall: float,
    hubness: float,
) -> Floats:
    """Folds queries ``[Q, D]``: ``[Q, folded_width]``.

    Args:
        queries: ``[Q, D]``.
        recalled: ``[Q, D]`` by `retrieval.memory.known_pairs.KnownPairs.recall`.
        folding: Of the index.
        recall: Strength ``a``, 0 or more.
        hubness: Strength ``λ``, 0 or more.

    Raises:
        ValueError: If shapes differ, or a strength is below 0 or no number.
    """
    queries = _checked(queries, "queries", folding)
    if recalled.shape != queries.shape:
        raise ValueError(f"queries {queries.shape}, recalled {recalled.shape}: expected one shape [Q, D]")
    folded = np.zeros((len(queries), folding.folded_width), np.float32)
    folded[:, : folding.width] = queries + np.float32(strength("recall", recall)) * recalled
    folded[:, folding.width] = -strength("hubness", hubness)
    return folded


def unfold_vectors(folded: NDArray[np.float32], folding: Folding) -> tuple[Floats, Floats]:
    """The vectors ``[N, D]`` and their hubness ``[N]`` that were folded."""
    return folded[:, : folding.width].copy(), folded[:, folding.width] + np.float32(folding.mean)


def strength(name: str, value: object) -> float:
    """A strength as a float from 0 to 1e6; else a ValueError."""
    return real(name, value, most=1e6)


def _checked(vectors: NDArray[np.float32], name: str, folding: Folding) -> NDArray[np.float32]:
    if vectors.ndim != 2 or vectors.shape[1] != folding.width:
        raise ValueError(f"{name} {vectors.shape}: expected [N, {folding.width}]")
    return vectors
