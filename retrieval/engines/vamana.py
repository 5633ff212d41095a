"""Building of SVS's graph, which may end the process that it runs in.

The library's compressed storages refuse processors that are not Intel's by ending the process with a line on
the standard error, and its kernels end it where an instruction is missing. So this file is a program too,
``python -P vamana.py STORAGE``, that builds and searches a small index; `retrieval.engines.svs` runs it in a
process of its own first. It needs NumPy and ``svs`` alone.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = {"lvq4x4": (4, 4), "lvq4x8": (4, 8), "lvq8": (8, 0)}
"""Bits a dimension of the first and of the second level of locally adaptive quantization."""
STORAGES = ("float32", "float16", *CODES)
ALPHA = 0.95
"""Pruning of links, as the library's documentation has it for inner products."""


def build_vamana(
    vectors: NDArray[np.float32], storage: str, *, graph_degree: int, window: int, threads: int
) -> Any:
    """A searchable graph by inner product.

    Args:
        vectors: ``[N, D]``, in float16's range for that storage.
        storage: One of `STORAGES`.
        graph_degree: Links a node.
        window: Breadth of the search that links a new node.
        threads: Of building; the index keeps them for searching.
    """
    svs = importlib.import_module("svs")
    settings = svs.VamanaBuildParameters(alpha=ALPHA, graph_max_degree=graph_degree, window_size=window)
    if storage not in CODES:
        return svs.Vamana.build(settings, vectors.astype(storage), svs.MIP, num_threads=threads)
    with tempfile.TemporaryDirectory() as folder:  # it compresses what lies in a file
        plain, own = str(Path(folder) / "vectors.fvecs"), str(Path(folder) / "vectors.svs")
        svs.write_vecs(vectors, plain)
        svs.convert_vecs_to_svs(plain, own, svs.float32)
        file = svs.VectorDataLoader(own, svs.float32, dims=vectors.shape[1])
        data = svs.LVQLoader(file, *CODES[storage], padding=32)
        return svs.Vamana.build(settings, data, svs.MIP, num_threads=threads)


def main(storage: str) -> None:
    """Builds and searches a small index."""
    vectors = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = build_vamana(vectors, storage, graph_degree=16, window=32, threads=1)
    index.search(vectors, 5)


if __name__ == "__main__":
    main(sys.argv[1])
