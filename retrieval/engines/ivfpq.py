"""faiss's fastest on a CPU: an inverted file of 4-bit product codes, scanned in registers, then refined.

The scan is that of André, Kermarrec, Le Scouarnec, "Cache locality is not enough: high-performance nearest
neighbor search with product quantization fast scan" (VLDB 2015), which ScaNN uses as well.
"""

from __future__ import annotations

from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import (
    PROBES,
    REFINES,
    FaissEngine,
    Found,
    cells_for,
    faiss_threads,
    read_in_place,
    saved_bytes,
)
from retrieval.engines.ivf import train_cells
from retrieval.storage import expect_random, mapping_of
from retrieval.validation import Checked, whole


class IvfPq(FaissEngine):
    """``IndexRefineFlat`` over ``IndexIVFPQFastScan``.

    Built of a memory-mapped file, it refines by the vectors that are there.

    Args:
        nlist: Cells; None takes `cells_for` so many vectors.
        m: Sub-quantizers of 4 bits; None takes one for two dimensions, of odd widths one for each.
        nprobe: Cells scanned per query.
        refine: Candidates rescored exactly, at least k.
        by_residual: Whether codes describe the offset from the cell's centroid instead of the vector: a
            little better at equal recall on wide kinds, equal on tight ones.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "ivfpq"
    search_params: ClassVar = {"nprobe": PROBES, "refine": REFINES}
    nprobe = Checked(whole)
    refine = Checked(whole)
    in_place = True

    def __init__(
        self,
        *,
        nlist: int | None = None,
        m: int | None = None,
        nprobe: int = 16,
        refine: int = 100,
        by_residual: bool = True,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        self.nlist = None if nlist is None else whole("nlist", nlist)
        self.m = None if m is None else whole("m", m)
        self.nprobe = nprobe
        self.refine = refine
        self.by_residual = by_residual

    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        count, width = vectors.shape
        parts = self.m or (width // 2 if width % 2 == 0 else width)
        if width % parts:
            raise ValueError(
                f"m={parts}: vectors of width {width} cannot be cut so; give a divisor of {width}"
            )
        cells = min(count, self.nlist or cells_for(count))
        codes = faiss.IndexIVFPQFastScan(
            faiss.IndexFlatIP(width), width, cells, parts, 4, faiss.METRIC_INNER_PRODUCT
        )
        codes.by_residual = self.by_residual
        codes.pq.cp.min_points_per_centroid = 1
        train_cells(codes, vectors)
        refined = faiss.IndexRefineFlat(codes)
        if mapping_of(vectors) is None:
            refined.add(vectors)
        else:
            codes.add(vectors)
            read_in_place(faiss.downcast_index(refined.refine_index), vectors)
            refined.ntotal = count
            expect_random(vectors)
        return refined

    def resident_bytes(self) -> int:
        """See `retrieval.engines.base.Engine.resident_bytes`."""
        return super().resident_bytes() if self._mapped is None else saved_bytes(self._index.base_index)

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._index.k_factor = max(1.0, self.refine / k)
        codes: Any = faiss.downcast_index(self._index.base_index)
        codes.nprobe = self.nprobe
        return self._index.search(queries, k)

    def _search_all(self, queries: NDArray[np.float32], k: int) -> Found:
        """Exactly: fast scan leaves out what scores lowest by the codes, however many cells it visits."""
        with faiss_threads(self.threads):
            scores, rows = self._index.refine_index.search(queries, k)
        return rows, scores
