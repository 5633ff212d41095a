"""ScaNN: a tree of k-means, anisotropic product codes, exact reordering; with SOAR, two leaves a vector.

Guo et al., "Accelerating large-scale inference with anisotropic vector quantization" (ICML 2020). Sun et al.,
"SOAR: improved indexing for approximate nearest neighbor search" (NeurIPS 2023).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import PROBES, REFINES, Engine, Found, cells_for, library, quiet
from retrieval.validation import Checked, real, whole

#: Below so few vectors a tree has no use, and product codes too few to learn from.
FEWEST_FOR_A_TREE = 1_000


class Scann(Engine):
    """``scann_ops_pybind`` with the settings that its own documentation takes for unit vectors.

    Args:
        num_leaves: Leaves of the tree; None takes as many as `cells_for` so many vectors.
        leaves_to_search: Leaves scanned per query.
        reorder: Candidates rescored exactly, at least k.
        dimensions_per_block: Dimensions that share 4 bits of code.
        threshold: ``anisotropic_quantization_threshold``.
        soar_lambda: Weight of the residual's part along the first leaf's residual, by which SOAR chooses a
            second leaf for every vector; None leaves each in one leaf (``scann``) or takes 1.5
            (``scann_soar``).
        quantize_centroids: Whether leaves are chosen by centers of 8 bits.
        reorder_type: Of the vectors that rescore: ``float32``, ``bfloat16`` or ``int8``.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "scann"
    search_params: ClassVar = {"leaves_to_search": PROBES, "reorder": REFINES}
    _soar_lambda: ClassVar[float | None] = None
    leaves_to_search = Checked(whole)
    reorder = Checked(whole)

    def __init__(
        self,
        *,
        num_leaves: int | None = None,
        leaves_to_search: int = 16,
        reorder: int = 100,
        dimensions_per_block: int = 2,
        threshold: float = 0.2,
        soar_lambda: float | None = None,
        quantize_centroids: bool = False,
        reorder_type: str = "float32",
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        fix = "pip install scann (wheels for Linux with x86 and ARM), or the extra bench"
        scann = library(self.name, "scann", fix)
        self._ops, types = scann.scann_ops_pybind, scann.ReorderType
        if reorder_type.upper() not in types.__members__:
            known = ", ".join(name.lower() for name in types.__members__)
            raise ValueError(f"reorder_type={reorder_type}: expected one of {known}")
        self._reorder_type = types[reorder_type.upper()]
        self.num_leaves = None if num_leaves is None else whole("num_leaves", num_leaves)
        self.leaves_to_search = leaves_to_search
        self.reorder = reorder
        self.dimensions_per_block = whole("dimensions_per_block", dimensions_per_block)
        self.threshold = threshold
        self.soar_lambda = self._soar_lambda if soar_lambda is None else real("soar_lambda", soar_lambda)
        self.quantize_centroids = quantize_centroids
        self._index: Any = None

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        if self._index is None:
            return 0
        with tempfile.TemporaryDirectory() as folder:
            self._index.serialize(folder)
            return sum(path.stat().st_size for path in Path(folder).iterdir())

    def _build(self, vectors: NDArray[np.float32]) -> None:
        count = len(vectors)
        builder = self._ops.builder(vectors, min(10, count), "dot_product")
        builder.set_n_training_threads(self.threads)
        if count < FEWEST_FOR_A_TREE:
            builder.score_brute_force()
        else:
            leaves = min(count, self.num_leaves or cells_for(count))
            builder.tree(
                num_leaves=leaves,
                num_leaves_to_search=min(leaves, self.leaves_to_search),
                training_sample_size=min(count, 64 * max(leaves, 256)),
                spherical=True,
                quantize_centroids=self.quantize_centroids,
                soar_lambda=self.soar_lambda,
            )
            builder.score_ah(
                self.dimensions_per_block, anisotropic_quantization_threshold=self.threshold
            ).reorder(self.reorder, self._reorder_type)
        with quiet():  # it logs every step
            self._index = builder.build()
        self._index.set_num_threads(self.threads)

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        settings = {
            "final_num_neighbors": k,
            "pre_reorder_num_neighbors": max(k, self.reorder),
            "leaves_to_search": self.leaves_to_search,
        }
        if len(queries) == 1:  # its own call for one query is the faster one
            near, near_scores = self._index.search(queries[0], **settings)
            rows = np.full((1, k), -1, np.int64)
            scores = np.full((1, k), -np.inf, np.float32)
            rows[0, : len(near)], scores[0, : len(near)] = near, near_scores
        else:
            run = self._index.search_batched if self.threads == 1 else self._index.search_batched_parallel
            near, near_scores = run(queries, **settings)
            rows, scores = near.astype(np.int64), near_scores
        # where the leaves held fewer than k it fills up with row 0 and NaN
        rows[np.isnan(scores)] = -1
        return rows, scores


class ScannSoar(Scann):
    """`Scann` with a second leaf for every vector, by the weight that its own tests take."""

    name = "scann_soar"
    _soar_lambda = 1.5
