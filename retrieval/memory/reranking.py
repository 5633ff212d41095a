"""Memory for re-rankers: recall and hubness as columns to be added to the scores of pairs by `Sum`.

A re-ranker has hubs of its own, which need not be those of the single vectors. Its hubness of a candidate is
computed from its own scores, against the known queries that are nearest to it alone: the rest hardly count,
and all would be too many for what looks at a pair.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from retrieval.memory.folding import strength
from retrieval.memory.known_pairs import KnownPairs
from retrieval.reranker import Reranker, Similarity
from retrieval.validation import Checked, check_vectors, real, whole

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NEAREST = 32
"""Known queries by which a candidate is judged."""
BETA = 0.5
"""Of logits, as HAF's and the light re-ranker's scores are."""
_ROWS = 256


class ScoreHubness:
    """Hubness of candidates by a re-ranker's scores, computed when a candidate is first asked for.

    So a large gallery costs nothing until it is searched, and what was asked for once is kept: 4 bytes.

    Attributes:
        computed: Candidates whose hubness is known.
        seconds: What they took on the wall's clock.
    """

    def __init__(
        self,
        scores: Reranker,
        vectors: NDArray[np.float32],
        pairs: KnownPairs,
        *,
        leave_out: NDArray[np.integer] | None = None,
        nearest: int = NEAREST,
        beta: float = BETA,
    ) -> None:
        """Settings.

        Args:
            scores: Scores candidates (as its query rows) with known queries (as its ids).
            vectors: ``[N, D]``, the candidate of id i in row i.
            pairs: The bank.
            leave_out: ``[N, P]`` places of the pairs that mean a candidate, -1 for none.
            nearest: Known queries that are looked at, by the similarity of single vectors.
            beta: See `retrieval.memory.known_pairs`, here of the re-ranker's scores.

        Raises:
            ValueError: A number is out of range, or widths or rows do not fit.
        """
        self._scores, self._keys = scores, pairs.keys
        self._vectors = check_vectors(vectors, "vectors", pairs.width)
        if leave_out is not None and (np.ndim(leave_out) != 2 or len(leave_out) != len(vectors)):
            raise ValueError(f"leave_out {np.shape(leave_out)}: expected [{len(vectors)}, P]")
        self._own = leave_out
        self._nearest = min(whole("nearest", nearest), len(self._keys))
        self._beta = real("beta", beta, least=1e-3, most=1e6)
        self._known = np.full(len(vectors), np.nan, np.float32)
        self.computed, self.seconds = 0, 0.0

    def __call__(self, candidate_ids: Ints) -> Floats:
        """``log(mean(exp(beta * score))) / beta`` in the shape of the ids; 0 where there is none (-1)."""
        there = candidate_ids >= 0
        missing = np.unique(candidate_ids[there])
        missing = missing[np.isnan(self._known[missing])]
        if len(missing):
            begun = time.perf_counter()
            for rows in np.split(missing, range(_ROWS, len(missing), _ROWS)):
                self._known[rows] = self._computed(rows)
            self.computed += len(missing)
            self.seconds += time.perf_counter() - begun
        return np.where(there, self._known[np.where(there, candidate_ids, 0)], np.float32(0))

    def _computed(self, rows: Ints) -> Floats:
        if not self._nearest:
            return np.zeros(len(rows), np.float32)
        similar = self._vectors[rows] @ self._keys.T
        if self._own is not None:
            row, column = np.nonzero(self._own[rows] >= 0)
            similar[row, self._own[rows][row, column]] = -np.inf
        near = np.argpartition(-similar, self._nearest - 1, axis=1)[:, : self._nearest]
        near = np.where(np.isneginf(np.take_along_axis(similar, near, 1)), -1, near)
        logits = self._beta * self._scores(rows, near).astype(np.float64)
        logits[near < 0] = -np.inf
        counts = (near >= 0).sum(axis=1)
        highest = np.where(counts > 0, logits.max(axis=1), 0)
        sums = np.exp(logits - highest[:, None]).sum(axis=1)
        logs = np.log(np.where(counts > 0, sums / np.maximum(counts, 1), 1))
        return ((logs + highest) / self._beta).astype(np.float32)


class MemoryTerms:
    """``a * scale * recall(q) . s_c - λ * hubness_c``, to be added to a re-ranker's scores.

    Attributes:
        recall: Strength ``a``, 0 or more; may be set at any time.
        hubness: Strength ``λ``, likewise.
    """

    recall = Checked(strength)
    hubness = Checked(strength)

    def __init__(
        self,
        recalled: NDArray[np.float32],
        vectors: NDArray[np.float32],
        hubness_of: ScoreHubness,
        *,
        scale: float = 1.0,
        recall: float = 1.0,
        hubness: float = 1.0,
    ) -> None:
        """Settings.

        Args:
            recalled: ``[Q, D]`` what each query recalls, by `KnownPairs.recall`.
            vectors: ``[N, D]``, the candidate of id i in row i.
            hubness_of: The candidates' hubness by the scores that this is added to.
            scale: Of the logits of single vectors.
            recall: See the class.
            hubness: See the class.
        """
        self._similarity, self.hubness_of = Similarity(recalled, vectors, scale), hubness_of
        self.recall, self.hubness = recall, hubness

    def evidence(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """``scale * recall(q) . s_c``, ``[B, C]``."""
        return self._similarity(query_rows, candidate_ids)

    def __call__(self, query_rows: Ints, candidate_ids: Ints) -> Floats:
        """See `retrieval.reranker.Reranker`; what has strength 0 is not computed."""
        scores = np.zeros(candidate_ids.shape, np.float32)
        if self.recall:
            scores += np.float32(self.recall) * self.evidence(query_rows, candidate_ids)
        if self.hubness:
            scores -= np.float32(self.hubness) * self.hubness_of(candidate_ids)
        return scores
