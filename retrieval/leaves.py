"""The vectors of each leaf as compressed codes, scanned by faiss's own kernels.

faiss is told which leaves to scan (``search_preassigned``): the tree does the routing, faiss the arithmetic.
Rows (0, 1, 2 … in the order of adding) are what is stored and found; ids are the index's business.

faiss's helper ``contrib.ivf_tools.add_preassigned`` stores garbage in an ``IndexIVFPQFastScan`` without an
error (its codes are interleaved by blocks of 32). The first filling therefore goes into a plain 4-bit
``IndexIVFPQ`` that is then converted; later additions go through ``add_with_ids``, which knows the blocks.
"""

from __future__ import annotations

from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.hierarchy import Floats, Ints

Codec = Literal["pq", "sq8"]
CODECS: tuple[Codec, ...] = ("pq", "sq8")
_PQ_CENTROIDS = 16  # of 4 bits
TRAINING_ROWS = 65_536  # more changes neither codec's recall


class Leaves:
    """Inverted lists over the tree's leaves.

    ``pq``: product quantisation of the residuals, 4 bits for every 2 dimensions, scanned in registers ("fast
    scan", André et al. 2015): D/4 bytes a vector, meant to be refined. ``sq8``: 8 bits a dimension: D bytes.
    Each row takes 8 bytes more for its number.
    """

    def __init__(self, index: Any, codec: Codec) -> None:
        self.index = index
        self.codec = codec

    @classmethod
    def train(cls, centroids: Floats, sample: Floats, codec: Codec) -> Leaves:
        """Empty leaves whose codec has seen a sample.

        Args:
            centroids: ``[M, D]``, the leaves of the tree.
            sample: ``[S, D]``, at least one vector.
            codec: one of `CODECS`.

        Raises:
            ValueError: if the codec is unknown.
        """
        if codec not in CODECS:
            raise ValueError(f"codec={codec!r}: expected one of {', '.join(CODECS)}")
        leaf_count, width = centroids.shape
        index: Any  # faiss's Python additions are unknown to its type stubs
        quantizer = faiss.IndexFlatIP(width)
        quantizer.add(centroids)
        metric = faiss.METRIC_INNER_PRODUCT
        if codec == "sq8":
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexIVFScalarQuantizer(quantizer, width, leaf_count, kind, metric, True)
        else:
            index = faiss.IndexIVFPQ(
                quantizer, width, leaf_count, width // 2 if width % 2 == 0 else width, 4, metric
            )
            index.pq.cp.min_points_per_centroid = 1
            if len(sample) < _PQ_CENTROIDS:
                sample = np.resize(sample, (_PQ_CENTROIDS, width))
        index.train(np.ascontiguousarray(sample[:TRAINING_ROWS]))
        return cls(index, codec)

    def fill(self, vectors: Floats, rows: Ints, leaves: Ints) -> None:
        """Adds vectors to leaves that are known. Only before `seal`.

        Args:
            vectors: ``[n, D]`` contiguous.
            rows: ``[n]``.
            leaves: ``[n]``.
        """
        pointer = faiss.swig_ptr
        rows, leaves = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(leaves, np.int64)
        self.index.add_core(len(vectors), pointer(vectors), pointer(rows), pointer(leaves))

    def seal(self) -> None:
        """Ends the first filling: product codes are laid out for fast scan."""
        if self.codec == "pq":
            self.index = faiss.IndexIVFPQFastScan(self.index)

    def append(self, vectors: Floats, rows: Ints) -> None:
        """Adds vectors later, each to its nearest leaf (the same measure as the tree's)."""
        self.index.add_with_ids(vectors, rows)

    def discard(self, rows: Ints) -> int:
        """Takes the codes of rows out and returns how many there were."""
        return int(self.index.remove_ids(rows))

    def sizes(self) -> Ints:
        """``[M]``: codes in each leaf."""
        lists = self.index.invlists
        return np.array([lists.list_size(leaf) for leaf in range(lists.nlist)], np.int64)

    def scan(
        self,
        queries: Floats,
        leaves: Ints,
        similarities: Floats,
        k: int,
        allowed: NDArray[np.uint8] | None = None,
    ) -> Ints:
        """The rows that score highest by their codes.

        Args:
            queries: ``[Q, D]`` contiguous.
            leaves: ``[Q, W]``, -1 for none.
            similarities: ``[Q, W]`` of the queries with the leaves' centroids.
            k: rows a query.
            allowed: bits of the rows that may be found (`numpy.packbits`, little-endian); None for all. faiss
                looks at it while it scans, so that a filter never empties the list afterwards.

        Returns:
            ``[Q, k]`` rows, best first, -1 where there were fewer.
        """
        leaves = np.ascontiguousarray(leaves, np.int64)
        similarities = np.ascontiguousarray(similarities, np.float32)
        library: Any = faiss
        chosen = {} if allowed is None else {"sel": library.IDSelectorBitmap(allowed)}
        parameters = library.SearchParametersIVF(nprobe=leaves.shape[1], **chosen)
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        pointer = faiss.swig_ptr
        # The Python face of search_preassigned takes no parameters, which the selector needs.
        self.index.search_preassigned_c(
            len(queries),
            pointer(queries),
            k,
            pointer(leaves),
            pointer(similarities),
            pointer(scores),
            pointer(rows),
            False,
            parameters,
        )
        return rows
