"""Files of an ERS index: its parts written and read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from safetensors.numpy import load_file, save_file

from retrieval.ers.construction import Recipe
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import Leaves
from retrieval.ers.metadata import Columns
from retrieval.ers.state import IndexState, Routing
from retrieval.ers.vectors import VectorStore
from retrieval.ers.wear import Wear

_CHUNK = 16_384


def write_parts(folder: Path, content: IndexState) -> None:
    """Writes ``leaves.faiss``, ``tree.safetensors``, ``rows.safetensors`` and ``vectors.npy``.

    Rows that were removed are left out; `read_parts` calls the others 0, 1, 2 … in their order.
    """
    library: Any = faiss
    tree, statistics, living = content.tree, content.statistics, content.everything()
    library.write_index(content.leaves.index, str(folder / "leaves.faiss"))
    arrays: dict[str, Any] = {"clock": np.array([statistics.total, statistics.weight])}
    for level in range(tree.depth):
        arrays[f"centroids.{level}"] = tree.centroids[level]
        arrays[f"first_child.{level}"] = tree.first_child[level]
        arrays[f"visits.{level}"] = statistics.visits[level]
        arrays[f"successes.{level}"] = statistics.successes[level]
    save_file(arrays | content.wear.arrays() | {"reach": content.reach}, folder / "tree.safetensors")
    rows = {"rows": living, "ids": content.ids.of_row[living], "home": content.leaf_of_row[living]}
    save_file(rows | content.columns.arrays(living), folder / "rows.safetensors")
    dtype = content.vectors.base.dtype
    with (folder / "vectors.npy").open("wb") as file:
        shape = {"descr": dtype.str, "fortran_order": False, "shape": (len(living), tree.width)}
        np.lib.format.write_array_header_1_0(file, shape)
        for at in range(0, len(living), _CHUNK):
            content.vectors.read(living[at : at + _CHUNK]).astype(dtype).tofile(file)


def read_tree(folder: Path, half_life: float) -> tuple[SemanticHierarchy, EdgeStatistics, dict[str, Any]]:
    """Reads ``tree.safetensors``: the tree, its statistics, and all arrays of the file."""
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
    return tree, statistics, arrays


def read_rows(folder: Path) -> dict[str, Any]:
    """Reads ``rows.safetensors``: ``rows``, ``ids``, ``home`` and the metadata's columns."""
    return load_file(folder / "rows.safetensors")


def as_bytes(content: IndexState) -> dict[str, bytes]:
    """What `write_parts` writes, by file."""
    with tempfile.TemporaryDirectory() as folder:
        write_parts(Path(folder), content)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def from_bytes(files: dict[str, bytes], recipe: Recipe) -> IndexState:
    """Reads what `as_bytes` returned; the exact vectors are in memory."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return read_parts(Path(folder), recipe, in_memory=True)


def read_parts(folder: Path, recipe: Recipe, *, in_memory: bool = False) -> IndexState:
    """Reads what `write_parts` wrote, without priors.

    Args:
        folder: With the files.
        recipe: Of the index.
        in_memory: Whether the exact vectors are read; else they stay on disk under a memory map.
    """
    library: Any = faiss
    tree, statistics, arrays = read_tree(folder, recipe.half_life)
    kept = read_rows(folder)
    rows = kept["rows"]
    leaves = Leaves(library.read_index(str(folder / "leaves.faiss")), recipe.codec)
    if len(rows) and rows[-1] >= len(rows):
        leaves.renumber(rows)
    vectors = VectorStore(
        np.load(folder / "vectors.npy", mmap_mode=None if in_memory else "r", allow_pickle=False)
    )
    ids = IdMap(kept["ids"], np.ones(len(rows), bool))
    columns = Columns.from_arrays(kept)
    wear = Wear.from_arrays(arrays, leaves.sizes())
    reach = arrays.get("reach", np.zeros(tree.leaf_count, np.float32))  # older indexes know none
    routing = Routing(tree, statistics, leaves, kept["home"], wear, reach)
    return IndexState(routing, vectors, ids, columns, recipe.backend)
