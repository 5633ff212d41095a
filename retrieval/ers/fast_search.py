"""Gives the compiled search (`retrieval.ers.kernels.scan`) the parts of an index in the form that it takes.

What only a new tree changes is made once; the lists' addresses are asked of `Leaves`, which forgets them when
codes are added or discarded.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from compiling.instructions import LANES
from retrieval.ers.beam_search import level_widths
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy
from retrieval.ers.inverted_lists import Leaves
from retrieval.ers.kernels.routing import in_bytes
from retrieval.ers.kernels.search import search
from retrieval.ers.kernels.simd import BLOCK, NODES, TABLE_MAX
from retrieval.ers.vectors import VectorStore

_NONE = np.empty(0, np.uint8)


class FastPath:
    """The compiled search over one tree and its leaves.

    Nodes are numbered through all levels, the root being 0; the children of node ``i`` are ``children[i]`` to
    ``children[i + 1]``.
    """

    def __init__(self, tree: SemanticHierarchy, leaves: Leaves) -> None:
        index = leaves.index
        self._tree, self._leaves = tree, leaves
        first, bounds = 1, []
        for level, nodes in enumerate(tree.centroids):
            bounds.append(tree.first_child[level][:-1] + first)
            first += len(nodes)
        self._children = np.concatenate([*bounds, [first]]).astype(np.int64)
        self._nodes = in_bytes(np.concatenate(tree.centroids), self._children)
        centroids = faiss.vector_to_array(index.pq.centroids)
        grouped = centroids.reshape(index.pq.M, 16, index.pq.dsub)
        self._codebook = np.ascontiguousarray(grouped.transpose(0, 2, 1))
        self._places: tuple[Ints, int] | None = None
        self._widths: dict[int, Ints] = {}
        self._prior: tuple[list[Floats], Floats] | None = None

    @staticmethod
    def serves(leaves: Leaves) -> bool:
        """Whether processor and codes are of its kind; `Leaves.scan` is there for the others."""
        index: Any = leaves.index
        return bool(
            LANES
            and leaves.codec == "pq"
            and isinstance(index, faiss.IndexIVFPQFastScan)
            and index.bbs == BLOCK
            and index.by_residual
            and index.pq.M * TABLE_MAX < 2**16
        )

    def _place_bits(self, lists: Ints) -> int:
        """Bits that hold every place in a leaf."""
        known = self._places
        if known is None or known[0] is not lists:
            known = (lists, int(lists[:, 2].max()).bit_length())
            self._places = known
        return known[1]

    def search(
        self,
        queries: Floats,
        k: int,
        beam: int,
        refine: int,
        priors: list[Floats],
        vectors: VectorStore,
        ids: Ints,
        allowed: NDArray[np.uint8] | None = None,
    ) -> tuple[Ints, Floats]:
        """Descent, scan and refining in one call; a batch answers as its queries alone do, bit for bit.

        Args:
            queries: ``[Q, D]`` contiguous, finite, not zero.
            k: how many.
            beam: leaves a query.
            refine: candidates rescored exactly.
            priors: per level ``[M_l]``; a list that is not changed in place.
            vectors: the exact vectors.
            ids: ``[n]``, the id of every row.
            allowed: bits of the rows that may be found (`numpy.packbits`, little-endian); None for all.

        Returns:
            ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity.
        """
        widths = self._widths.get(beam)
        if widths is None:
            widths = np.array(level_widths(self._tree, beam), np.int64)
            self._widths[beam] = widths
        known = self._prior
        if known is None or known[0] is not priors:
            known = (priors, np.concatenate([*priors, np.zeros(NODES)]).astype(np.float32))
            self._prior = known
        lists = self._leaves.lists()
        return search(
            queries,
            k,
            refine,
            widths,
            *self._nodes,
            self._children,
            known[1],
            self._codebook,
            lists,
            self._place_bits(lists),
            _NONE if allowed is None else allowed,
            *vectors.parts(),
            ids,
        )
