"""What every index offers and refuses, so that they can stand in for each other."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.ids import check_ids
from retrieval.ers.vectors import well_formed
from retrieval.validation import whole

SHORTEST, LONGEST = 1e-15, 1e15  # of a vector


class Retriever(Protocol):
    """An index of vectors by inner product."""

    name: str

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Replaces the content of the index; what an error refuses leaves it as it was.

        Args:
            vectors: ``[N, D]``, at least one, of lengths from 1e-15 to 1e15; L2-normalised where cosine is
                meant (``diskann`` takes no others, and needs two).
            ids: ``[N]`` distinct whole numbers, 0 or more; what `search` returns.

        Raises:
            ValueError: if there is no vector, one is zero, not finite or of another length, an id is given
                twice or below 0, or the arrays do not fit each other.
        """

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest vectors, best first.

        Args:
            queries: ``[Q, D]``, of lengths likewise.
            k: how many, at most ``N``. An approximate engine that reaches fewer, and a filter that lets
                fewer through, leave the rest at id -1 and score minus infinity.

        Returns:
            ``(ids [Q, k], scores [Q, k])``.

        Raises:
            ValueError: if the index is empty or holds fewer than k, k is below 1 or no whole number, or a
                query is zero, not finite, or of another width than the index.
        """


def check_content(
    vectors: NDArray[np.float32], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What an index can be built from, contiguous float32 ``[N, D]`` and int64 ``[N]``; else a ValueError."""
    vectors = check_vectors(vectors, "vectors")
    if 0 in vectors.shape:
        raise ValueError(f"vectors of shape {vectors.shape}: expected [N, D] with at least one vector")
    return vectors, check_ids(ids, len(vectors))


def check_search(
    queries: NDArray[np.float32], k: int, count: int, width: int
) -> tuple[NDArray[np.float32], int]:
    """Contiguous float32 queries and k for an index of ``count`` vectors of ``width``; else a ValueError."""
    if not count:
        raise ValueError("search on an empty index: call build(vectors, ids) first")
    k = whole("k", k)
    queries = check_vectors(queries, "queries", width)
    if k > count:
        raise ValueError(f"k={k}: the index holds {count}; ask for at most as many")
    return queries, k


def check_vectors(vectors: NDArray[np.float32], name: str, width: int | None = None) -> NDArray[np.float32]:
    """Vectors as contiguous float32 ``[N, D]``, or a ValueError that says what is wrong with them.

    A length has to be from `SHORTEST` to `LONGEST`, so that sums of squares stay within float32, whose ends
    end faiss's k-means, and the process with it.
    """
    plain = type(vectors) is np.ndarray and vectors.dtype == np.float32 and vectors.flags.carray
    if not (plain and vectors.ndim == 2):  # plain is the rule, and a single query's time counts
        try:
            with np.errstate(over="ignore"):
                vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected an array of numbers, [N, D] ({error})") from error
    if vectors.ndim != 2:
        raise ValueError(f"{name} of shape {vectors.shape}: expected [N, D]")
    if width is not None and vectors.shape[1] != width:
        raise ValueError(f"{name} of width {vectors.shape[1]}: the index was built with {width}")
    if well_formed(vectors, SHORTEST, LONGEST) or not vectors.size:
        return vectors
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise ValueError(f"{name}[{row}] has a value that is not finite")
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise ValueError(f"{name}: row {zero[0]} is zero, expected a direction; leave it out")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    row = int(np.argmax(np.abs(np.log(lengths))))
    raise ValueError(
        f"{name}[{row}] has length {lengths[row]:.3g}: expected {SHORTEST:g} to {LONGEST:g}; scale them all"
    )
