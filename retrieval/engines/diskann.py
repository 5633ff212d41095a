"""DiskANN's graph, Vamana, in memory (Subramanya et al., NeurIPS 2019).

The wheel of ``diskannpy`` 0.7.0 demands NumPy 1.25, which nothing else here can live with. It loads beside
NumPy 2 when pip is told to leave NumPy alone, but its call for a single query then returns the first row
again and again (it was compiled for NumPy 1's arrays); its call for a batch does not, and is used for one
query too. Version 0.4.0, which pip would choose by itself, ends the process when it is imported.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import Engine, Found, MissingEngineError, common_length, library, quiet
from retrieval.validation import Checked, whole

FIX = "pip install --no-deps diskannpy==0.7.0 (its pin of NumPy contradicts this project's)"


class DiskAnn(Engine):
    """``StaticMemoryIndex`` by Euclidean distance, which ranks vectors of one length as inner products do.

    Args:
        graph_degree: Links a node, ``R`` in the paper.
        complexity: Breadth of the search that links a new node, ``L`` of building.
        L: Breadth of a search; the library's argument ``complexity``.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "diskann"
    search_params: ClassVar = {"L": (16, 32, 64, 128, 256, 512, 1024)}
    L = Checked(whole)

    def __init__(
        self, *, graph_degree: int = 64, complexity: int = 100, L: int = 64, threads: int = 1
    ) -> None:
        super().__init__(threads=threads)
        refuse_old()
        self._diskannpy = library(self.name, "diskannpy", FIX)
        self.graph_degree = whole("graph_degree", graph_degree, 2)
        self.complexity = whole("complexity", complexity)
        self.L = L
        self._index: Any = None
        self._bytes = 0
        self._length = 1.0  # of all vectors

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        return self._bytes

    def _build(self, vectors: NDArray[np.float32]) -> None:
        if len(vectors) < 2:
            raise ValueError("diskann: a graph of one vector has no links: expected at least 2; take flat")
        length = common_length(self.name, vectors)
        with tempfile.TemporaryDirectory() as folder, quiet():
            self._diskannpy.build_memory_index(
                vectors / np.float32(length),
                "l2",
                folder,
                complexity=self.complexity,
                graph_degree=self.graph_degree,
                num_threads=self.threads,
            )
            self._index = self._diskannpy.StaticMemoryIndex(
                folder, num_threads=self.threads, initial_search_complexity=max(self.search_params["L"])
            )
            # graph and vectors; the folder holds a copy of the input besides
            self._length = length
            self._bytes = sum((Path(folder) / name).stat().st_size for name in ("ann", "ann.data"))

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        breadth = max(self.L, k)
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        answer = self._index.batch_search(queries / norms, k, breadth, self.threads)
        rows = answer.identifiers.astype(np.int64)
        rows[rows >= len(self)] = -1  # its mark of nothing found is the largest uint32
        return rows, self._length * norms * (2 - answer.distances) / 2  # of unit vectors: 2 - 2 cos


def refuse_old() -> None:
    """Raises before the import that would end the process."""
    try:
        version = importlib.metadata.version("diskannpy")
    except importlib.metadata.PackageNotFoundError:
        return  # the import names it
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 7):
        raise MissingEngineError(f"diskann: diskannpy {version} breaks off when imported; {FIX}")
