"""The parts of an ERS index as files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from safetensors.numpy import load_file, save_file

from retrieval.ers_ids import IdMap
from retrieval.ers_statistics import EdgeStatistics
from retrieval.hierarchy import Ints, SemanticHierarchy
from retrieval.leaves import Codec, Leaves
from retrieval.vectors import VectorStore


def write_parts(
    folder: Path,
    tree: SemanticHierarchy,
    statistics: EdgeStatistics,
    leaves: Leaves,
    vectors: VectorStore,
    ids: IdMap,
    home: Ints,
) -> None:
    """Writes ``leaves.faiss``, ``tree.safetensors``, ``rows.safetensors`` and ``vectors.npy``."""
    library: Any = faiss
    library.write_index(leaves.index, str(folder / "leaves.faiss"))
    arrays: dict[str, Any] = {"clock": np.array([statistics.total, statistics.weight])}
    for level in range(tree.depth):
        arrays[f"centroids.{level}"] = tree.centroids[level]
        arrays[f"first_child.{level}"] = tree.first_child[level]
        arrays[f"visits.{level}"] = statistics.visits[level]
        arrays[f"successes.{level}"] = statistics.successes[level]
    save_file(arrays, folder / "tree.safetensors")
    save_file({"ids": ids.of_row, "alive": ids.alive, "home": home}, folder / "rows.safetensors")
    shape = (len(vectors), tree.width)
    kept = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=vectors.base.dtype, shape=shape)
    at = 0
    for chunk in vectors.chunks():
        kept[at : at + len(chunk)] = chunk
        at += len(chunk)
    kept.flush()


def read_parts(
    folder: Path, codec: Codec, half_life: float
) -> tuple[SemanticHierarchy, EdgeStatistics, Leaves, VectorStore, IdMap, Ints]:
    """Reads what `write_parts` wrote; the exact vectors stay on disk under a memory map."""
    library: Any = faiss
    arrays = load_file(folder / "tree.safetensors")
    levels = range(sum(name.startswith("centroids.") for name in arrays))
    tree = SemanticHierarchy(
        tuple(arrays[f"centroids.{level}"] for level in levels),
        tuple(arrays[f"first_child.{level}"] for level in levels),
    )
    statistics = EdgeStatistics(tree, half_life)
    statistics.total, statistics.weight = arrays["clock"].tolist()
    statistics.visits = [arrays[f"visits.{level}"] for level in levels]
    statistics.successes = [arrays[f"successes.{level}"] for level in levels]
    rows = load_file(folder / "rows.safetensors")
    leaves = Leaves(library.read_index(str(folder / "leaves.faiss")), codec)
    vectors = VectorStore(np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False))
    return tree, statistics, leaves, vectors, IdMap(rows["ids"], rows["alive"]), rows["home"]
