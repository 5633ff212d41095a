"""faiss on a GPU: exact search and an inverted file, whose vectors and codes lie in the device's memory."""

from __future__ import annotations

from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import FaissEngine, MissingEngineError, saved_bytes
from retrieval.engines.ivf import Ivf


class OnGpu(FaissEngine):
    """An index that is trained on the CPU and moved to the first GPU; at most 2,048 answers per query."""

    def __init__(self, *, threads: int = 1) -> None:
        if not hasattr(faiss, "StandardGpuResources"):
            raise MissingEngineError(
                f"{self.name}: faiss is built for CPUs here; pip uninstall faiss-cpu and "
                "pip install faiss-gpu-cu12"
            )
        if faiss.get_num_gpus() == 0:
            raise MissingEngineError(f"{self.name}: faiss finds no GPU; run on a machine with CUDA")
        super().__init__(threads=threads)
        self._resources: Any = faiss.StandardGpuResources()

    def resident_bytes(self) -> int:
        """Bytes of the device's memory, see `Engine.resident_bytes`."""
        if self._index is None:
            return 0
        return saved_bytes(faiss.index_gpu_to_cpu(self._index))

    def _build(self, vectors: NDArray[np.float32]) -> None:
        super()._build(vectors)
        self._index = faiss.index_cpu_to_gpu(self._resources, 0, self._index)


class FlatGpu(OnGpu):
    """Looks at every vector; there is nothing to trade."""

    name = "flat_gpu"
    search_params: ClassVar = {}

    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self._index.search(queries, k)


class IvfGpu(Ivf, OnGpu):
    """`retrieval.engines.ivf.Ivf` on a GPU, with the same settings."""

    name = "ivf_gpu"
