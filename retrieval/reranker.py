"""Putting the first candidates of any engine in a better order, through callables that can be combined.

A re-ranker is given rows of queries and the ids of each one's candidates, and returns scores. An index finds
by similarities of single vectors; what looks at a pair can know better, and is too slow for all of them. Here
is what does not depend on the model: combining re-rankers, spending the costly one on few candidates, and
telling its time apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit
from retrieval.validation import thread_count, whole

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Reranker(Protocol):
    """Scoring function of candidates."""

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """Scores ``[B, C]``, higher is better.

        Args:
            query_rows: ``[B]`` which of the queries that the re-ranker was made for.
            candidate_ids: ``[B, C]``; -1 where there is none, whose score is not looked at.
        """


def rerank(query_rows: Ints, candidate_ids: Ints, reranker: Reranker, k: int) -> tuple[Ints, Floats]:
    """The best of an engine's candidates by a re-ranker; of equal scores the smaller id stands first.

    Args:
        query_rows: ``[B]``.
        candidate_ids: ``[B, C]`` as `Retriever.search` returns them.
        reranker: Decides.
        k: How many are kept; more than C fills up with id -1.

    Returns:
        ``(ids [B, k], scores [B, k])``, padded with -1 and minus infinity.

    Raises:
        ValueError: If k is below 1, or the re-ranker returns another shape or NaN.
    """
    k = whole("k", k)
    scores = np.array(reranker(query_rows, candidate_ids), np.float32)
    if scores.shape != candidate_ids.shape:
        raise ValueError(f"the re-ranker returned scores {scores.shape} for candidates {candidate_ids.shape}")
    missing = candidate_ids < 0
    if np.isnan(scores[~missing]).any():
        raise ValueError("the re-ranker returned NaN: its model diverged")
    scores[missing] = -np.inf
    order = np.lexsort((candidate_ids, -scores, missing), axis=1)[:, :k]
    ids = np.full((len(candidate_ids), k), -1, np.int64)
    best = np.full(ids.shape, -np.inf, np.float32)
    ids[:, : order.shape[1]] = np.take_along_axis(candidate_ids, order, 1)
    best[:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
    return ids, best


class Similarity:
    """``scale`` times the inner product of single vectors: the index's own score, to be added to others.

    Args:
        queries: ``[Q, D]`` float32.
        vectors: ``[N, D]`` float32, the candidate of id i in row i.
        scale: Weight beside other scores.
    """

    def __init__(self, queries: Floats, vectors: Floats, scale: float = 1.0) -> None:
        if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
            raise ValueError(f"queries {queries.shape}, vectors {vectors.shape}: expected [Q, D] and [N, D]")
        self._queries = np.ascontiguousarray(queries, np.float32)
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._scale = np.float32(scale)

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `Reranker`."""
        if candidate_ids.size and candidate_ids.max() >= len(self._vectors):
            raise ValueError(f"candidate {candidate_ids.max()}: expected at most {len(self._vectors) - 1}")
        return _products(self._queries[query_rows], self._vectors, candidate_ids) * self._scale


class Sum:
    """The sum of several re-rankers' scores."""

    def __init__(self, *parts: Reranker) -> None:
        if not parts:
            raise ValueError("no re-rankers to add up: expected at least one")
        self._parts = parts

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `Reranker`."""
        first, *others = (part(query_rows, candidate_ids) for part in self._parts)
        return sum(others, start=first)


class Cascade:
    """A light re-ranker for all candidates, and a better one for those that it puts first.

    Args:
        light: Scores every candidate.
        full: Scores the best ``keep`` of them again; they stay before the others, whose scores
            are moved below.
        keep: Candidates a query for ``full``.
    """

    def __init__(self, light: Reranker, full: Reranker, keep: int) -> None:
        self._light, self._full, self._keep = light, full, whole("keep", keep)

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `Reranker`."""
        scores = np.array(self._light(query_rows, candidate_ids), np.float32)
        scores[candidate_ids < 0] = -np.inf
        keep = min(self._keep, scores.shape[1])
        if not keep:
            return scores
        best = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
        chosen = np.take_along_axis(candidate_ids, best, 1)
        again = np.array(self._full(query_rows, chosen), np.float32)
        again[chosen < 0] = -np.inf
        lowest = np.where(np.isfinite(again), again, np.inf).min(1, keepdims=True)
        highest = np.take_along_axis(scores, best[:, -1:], 1)
        known = np.isfinite(lowest) & np.isfinite(highest)
        scores += np.where(known, lowest - highest - 1, 0)  # highest: no score of the rest is above it
        np.put_along_axis(scores, best, again, 1)
        return scores


class Threaded:
    """A re-ranker over pieces of the batch, in several threads; it must let go of Python's lock."""

    def __init__(self, reranker: Reranker, threads: int) -> None:
        self._reranker, self._threads = reranker, thread_count("threads", threads)

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `Reranker`."""
        pieces = min(self._threads, len(query_rows))
        if pieces <= 1:
            return self._reranker(query_rows, candidate_ids)
        split: Sequence[Ints] = np.array_split(np.arange(len(query_rows)), pieces)
        with ThreadPoolExecutor(pieces) as pool:
            found = pool.map(lambda rows: self._reranker(query_rows[rows], candidate_ids[rows]), split)
            return np.concatenate(list(found))


class Timed:
    """Counts what a re-ranker takes, so that its time can be told apart from the search's.

    Attributes:
        queries: Scored so far.
        seconds: Of the clock on the wall.
        cpu_seconds: Of the processor, over all threads of the process.
    """

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self.queries, self.seconds, self.cpu_seconds = 0, 0.0, 0.0

    @property
    def milliseconds(self) -> float:
        """Of the wall's clock, a query; NaN before the first."""
        return 1e3 * self.seconds / self.queries if self.queries else float("nan")

    @property
    def cpu_milliseconds(self) -> float:
        """Of the processor, a query; NaN before the first."""
        return 1e3 * self.cpu_seconds / self.queries if self.queries else float("nan")

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `Reranker`."""
        wall, cpu = time.perf_counter(), time.process_time()
        scores = self._reranker(query_rows, candidate_ids)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        with self._lock:
            self.queries += len(query_rows)
            self.seconds += wall
            self.cpu_seconds += cpu
        return scores


@cached_njit(fastmath={"reassoc", "contract"})
def _products(queries: Floats, vectors: Floats, rows: Ints) -> Floats:
    """Inner products ``[B, C]`` of each query with vectors of its own; zero where there is none."""
    out = np.zeros(rows.shape, np.float32)
    for b in range(rows.shape[0]):
        query = queries[b]
        for c in range(rows.shape[1]):
            if rows[b, c] >= 0:
                vector = vectors[rows[b, c]]
                total = np.float32(0)
                for column in range(len(query)):
                    total += query[column] * vector[column]
                out[b, c] = total
    return out
