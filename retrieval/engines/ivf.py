"""faiss's inverted file: k-means cells, of which the nearest are scanned, flat or as 8-bit codes."""

from __future__ import annotations

from typing import ClassVar, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import PROBES, FaissEngine, cells_for
from retrieval.validation import Checked, whole

TRAINING_POINTS = 64
"""Vectors a cell that k-means sees."""
FEWEST = 16
"""Values of a 4-bit code, which faiss does not train on fewer vectors."""


class Ivf(FaissEngine):
    """``IndexIVFFlat`` or ``IndexIVFScalarQuantizer``.

    Args:
        codes: ``"flat"`` keeps float32 vectors, ``"sq8"`` one byte a dimension.
        nlist: Cells; None takes `cells_for` so many vectors.
        nprobe: Cells scanned per query.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "ivf"
    search_params: ClassVar = {"nprobe": PROBES}
    nprobe = Checked(whole)

    def __init__(
        self,
        *,
        codes: Literal["flat", "sq8"] = "sq8",
        nlist: int | None = None,
        nprobe: int = 16,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        if codes not in ("flat", "sq8"):
            raise ValueError(f"codes={codes}: expected flat or sq8")
        self.codes = codes
        self.nlist = None if nlist is None else whole("nlist", nlist)
        self.nprobe = nprobe

    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        count, width = vectors.shape
        cells = min(count, self.nlist or cells_for(count))
        quantizer = faiss.IndexFlatIP(width)
        if self.codes == "flat":
            index: faiss.IndexIVF = faiss.IndexIVFFlat(quantizer, width, cells, faiss.METRIC_INNER_PRODUCT)
        else:
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexIVFScalarQuantizer(
                quantizer, width, cells, kind, faiss.METRIC_INNER_PRODUCT, True
            )
        train_cells(index, vectors)
        index.add(vectors)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._index.nprobe = self.nprobe
        return self._index.search(queries, k)


def train_cells(index: faiss.IndexIVF, vectors: NDArray[np.float32]) -> None:
    """Trains the cells and codes of an inverted file on a sample of the vectors ``[N, D]``."""
    index.cp.max_points_per_centroid = TRAINING_POINTS
    index.cp.min_points_per_centroid = 1  # small sets are tests, not mistakes: no warning
    # Rows come in any order, so a stride would do, but sorted input must not bias the sample.
    most = TRAINING_POINTS * max(index.nlist, 256)
    if len(vectors) > most:
        chosen = np.random.default_rng(0).choice(len(vectors), most, replace=False)
        vectors = vectors[np.sort(chosen)]
    index.train(np.resize(vectors, (max(len(vectors), FEWEST), vectors.shape[1])))
