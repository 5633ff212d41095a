"""The compiled search over one index, given the index's parts in the form that it takes.

What only a new tree changes is made once; what a change of rows moves, the lists' addresses among it, is
gathered at the next search.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from compiling.instructions import LANES
from retrieval.ers.beam_search import level_widths
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import Leaves
from retrieval.ers.kernels.arrays import IndexArrays
from retrieval.ers.kernels.routing import in_bytes
from retrieval.ers.kernels.search import search
from retrieval.ers.kernels.simd import BLOCK, NODES, TABLE_MAX
from retrieval.ers.vectors import VectorStore


class FastSearch:
    """The compiled search (`retrieval.ers.kernels.search`) over one tree and its leaves."""

    def __init__(self, tree: SemanticHierarchy, leaves: Leaves, vectors: VectorStore, ids: IdMap) -> None:
        index = leaves.index
        self._tree, self._leaves, self._vectors, self._ids = tree, leaves, vectors, ids
        first, bounds = 1, []
        for level, nodes in enumerate(tree.centroids):
            bounds.append(tree.first_child[level][:-1] + first)
            first += len(nodes)
        children = np.concatenate([*bounds, [first]]).astype(np.int64)
        self._nodes = tuple(in_bytes(np.concatenate(tree.centroids), children))
        centroids = faiss.vector_to_array(index.pq.centroids)
        grouped = centroids.reshape(index.pq.M, 16, index.pq.dsub)
        self._codebook = np.ascontiguousarray(grouped.transpose(0, 2, 1))
        self._widths: dict[int, Ints] = {}
        self._rows: tuple[list[Floats], tuple[Any, ...]] | None = None

    @staticmethod
    def serves(leaves: Leaves) -> bool:
        """Whether it knows this processor and these codes; `Leaves.scan` serves the others."""
        index: Any = leaves.index
        return bool(
            LANES
            and leaves.codec == "pq"
            and isinstance(index, faiss.IndexIVFPQFastScan)
            and index.bbs == BLOCK
            and index.by_residual
            and index.pq.M * TABLE_MAX < 2**16
        )

    def search(
        self, queries: Floats, k: int, beam: int, refine: int, priors: list[Floats]
    ) -> tuple[Ints, Floats]:
        """Descent, scan and refining in one call; a batch answers as its queries alone do, bit for bit.

        Args:
            queries: ``[Q, D]`` contiguous, finite, not zero.
            k: Results per query.
            beam: Leaves scanned per query.
            refine: Candidates rescored exactly per query.
            priors: Per level ``[M_l]``; a list that is not changed in place.

        Returns:
            ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity.
        """
        widths = self._widths.get(beam)
        if widths is None:
            widths = np.array(level_widths(self._tree, beam), np.int64)
            self._widths[beam] = widths
        known = self._rows
        if known is None or known[0] is not priors:
            known = priors, tuple(self._gathered(priors))
            self._rows = known
        return search(queries, k, refine, widths, self._nodes, known[1])

    def forget_rows(self) -> None:
        """Call it when rows have changed."""
        self._rows = None

    def _gathered(self, priors: list[Floats]) -> IndexArrays:
        lists = self._leaves.lists()
        return IndexArrays(
            np.concatenate([*priors, np.zeros(NODES)]).astype(np.float32),
            self._codebook,
            lists,
            int(lists[:, 2].max()).bit_length(),
            *self._vectors.parts(),
            self._ids.of_row,
        )
