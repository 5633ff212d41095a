"""Files of an ERS index: its parts written, and read with everything checked that code indexes with.

``tree.safetensors`` has the tree, what feedback and changes have done to it and what the codec has learned,
``rows.safetensors`` each row's id, leaf and metadata and the rows in the order of the codes, ``codes.npy``
the codes leaf by leaf, ``vectors.npy`` the exact vectors. Searching is compiled code, ours and faiss's, that
checks nothing; so reading does, whatever the checksums say: no file can end the process. faiss's own format
is not read for that reason. Indexes of the first schema have it; their codes are made anew.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from retrieval.ers.construction import Recipe
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import DEEPEST, Floats, Ints, SemanticHierarchy
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import Codec, Leaves, book_size, code_bytes, part_counts
from retrieval.ers.metadata import Columns
from retrieval.ers.restructuring import freshly_coded
from retrieval.ers.state import IndexState, Routing
from retrieval.ers.vectors import VectorStore
from retrieval.ers.wear import Wear
from retrieval.storage import StoredArrays, open_rows
from retrieval.validation import LARGEST_ID, LONGEST

TREE, ROWS, CODES, VECTORS = "tree.safetensors", "rows.safetensors", "codes.npy", "vectors.npy"
_CHUNK = 16_384
_LONGEST_CENTROID = 1.01  # they have unit length, up to rounding
_MOST_FEEDBACK = 1e15  # beyond all that is counted, and within what single precision holds the prior of
_MOST_WEIGHT = 1e10  # of a feedback, see `EdgeStatistics`


def write_parts(folder: Path, content: IndexState) -> None:
    """Writes the four files.

    Rows that were removed are left out; `read_parts` calls the others 0, 1, 2 … in their order.
    """
    tree, statistics, living = content.tree, content.statistics, content.everything()
    arrays: dict[str, Any] = {
        "clock": np.array([statistics.total, statistics.weight]),
        "book": content.leaves.book,
        "parts": np.array([content.leaves.parts]),
        "reach": content.reach,
    }
    for level in range(tree.depth):
        arrays[f"centroids.{level}"] = tree.centroids[level]
        arrays[f"first_child.{level}"] = tree.first_child[level]
        arrays[f"visits.{level}"] = statistics.visits[level]
        arrays[f"successes.{level}"] = statistics.successes[level]
    save_file(arrays | content.wear.arrays(), folder / TREE)
    codes, leaf_count = content.leaves, tree.leaf_count
    listed = np.concatenate([codes.rows_of(leaf) for leaf in range(leaf_count)])
    rows = {
        "ids": content.ids.of_row[living],
        "leaf": content.leaf_of_row[living],
        "listed": np.searchsorted(living, listed),
    }
    save_file(rows | content.columns.arrays(living), folder / ROWS)
    sizes = codes.sizes()
    with (folder / CODES).open("wb") as file:
        _begin(file, np.dtype(np.uint8), (int(code_bytes(codes.codec, codes.parts, sizes).sum()),))
        for leaf in range(leaf_count):
            codes.codes_of(leaf).tofile(file)
    dtype = content.vectors.base.dtype
    with (folder / VECTORS).open("wb") as file:
        _begin(file, dtype, (len(living), tree.width))
        for at in range(0, len(living), _CHUNK):
            content.vectors.read(living[at : at + _CHUNK]).astype(dtype).tofile(file)


def written_bytes(content: IndexState) -> int:
    """Bytes that `write_parts` writes, about."""
    count, width, leaves = len(content.ids), content.tree.width, content.leaves
    codes = int(code_bytes(leaves.codec, leaves.parts, leaves.sizes()).sum())
    tree = 4 * width * sum(len(nodes) for nodes in content.tree.centroids)
    columns = sum(kept.itemsize for kept in content.columns.values.values())
    return count * (width * content.vectors.base.itemsize + 24 + columns) + codes + tree


def read_tree(folder: Path, half_life: float) -> tuple[SemanticHierarchy, EdgeStatistics, StoredArrays]:
    """Reads ``tree.safetensors``: the tree, its statistics, and all arrays of the file.

    Raises:
        DamagedFileError: If a child is none of the level below, or numbers are missing or out of range.
    """
    arrays = StoredArrays(folder / TREE)
    depth = sum(name.startswith("centroids.") for name in arrays.arrays)
    arrays.expect(1 <= depth <= DEEPEST, f"it has {depth} levels, expected 1 to {DEEPEST}")
    width = int(arrays.take("centroids.0", np.float32, (None, None)).shape[1])
    arrays.expect(width > 0, "its centroids have no width")
    centroids: list[Floats] = []
    first_child: list[Ints] = []
    above = 1
    for level in range(depth):
        nodes = arrays.take(f"centroids.{level}", np.float32, (None, width), -2, 2)
        long = np.einsum("nd,nd->n", nodes, nodes).max(initial=0) > _LONGEST_CENTROID**2
        arrays.expect(not long, f"centroids.{level} are no unit vectors")
        children = arrays.take(f"first_child.{level}", np.int64, (above + 1,), 0, len(nodes))
        ends = children[0] == 0 and children[-1] == len(nodes) and bool((np.diff(children) > 0).all())
        arrays.expect(ends, f"first_child.{level} gives not each node of the level above its own children")
        centroids.append(nodes)
        first_child.append(children)
        above = len(nodes)
    tree = SemanticHierarchy(tuple(centroids), tuple(first_child))
    statistics = EdgeStatistics(tree, half_life)
    total, weight = arrays.take("clock", np.float64, (2,)).tolist()
    arrays.expect(1 <= weight <= _MOST_WEIGHT, f"clock has the weight {weight}")
    arrays.expect(0 <= total <= _MOST_FEEDBACK * weight, f"clock has {total} visits")
    statistics.total, statistics.weight = total, weight
    for level, nodes in enumerate(centroids):
        for name in ("visits", "successes"):
            counts = arrays.take(f"{name}.{level}", np.float64, (len(nodes),), 0, total * (1 + 1e-6))
            getattr(statistics, name)[level] = counts
    return tree, statistics, arrays


def read_rows(folder: Path, tree: SemanticHierarchy) -> tuple[StoredArrays, Columns]:
    """Reads ``rows.safetensors``: the arrays ``ids`` and ``leaf`` (checked), others, and the metadata.

    Raises:
        DamagedFileError: If ids are not distinct, a leaf is none of the tree's, or metadata do not fit.
    """
    arrays = StoredArrays(folder / ROWS)
    ids = arrays.take("ids", np.int64, (None,), 0, LARGEST_ID)
    arrays.expect(bool((np.diff(np.sort(ids)) > 0).all()), "an id stands there twice")
    if "leaf" not in arrays:  # the first schema's word
        leaf = arrays.take("home", np.int64, (len(ids),))
        arrays = StoredArrays(arrays.path, {**arrays.arrays, "leaf": leaf})
    arrays.take("leaf", np.int64, (len(ids),), 0, tree.leaf_count - 1)
    return arrays, Columns.from_arrays(arrays, len(ids))


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

    Raises:
        DamagedFileError: If something in a file would lead a search out of its arrays.
    """
    tree, statistics, arrays = read_tree(folder, recipe.half_life)
    kept, columns = read_rows(folder, tree)
    ids, leaf_of_row = kept.arrays["ids"], kept.arrays["leaf"]
    stored = open_rows(folder / VECTORS, recipe.precision, (len(ids), tree.width))
    vectors = VectorStore(np.array(stored)) if in_memory else VectorStore(stored, folder / VECTORS)
    sizes = np.bincount(leaf_of_row, minlength=tree.leaf_count)
    wear = Wear.from_arrays(arrays, sizes)
    reach = np.zeros(tree.leaf_count, np.float32)  # indexes of before there was any have none
    if "reach" in arrays:
        reach = arrays.take("reach", np.float32, (tree.leaf_count,), 0, 2 * LONGEST)
    if "book" in arrays:
        leaves = _read_codes(folder / CODES, tree, arrays, kept, recipe.codec, sizes)
    else:
        warnings.warn(
            f"{folder.parent} is of an older release: its codes are made anew; save it again", stacklevel=2
        )
        everything = np.arange(len(ids))
        leaves = freshly_coded(tree, vectors, everything, leaf_of_row, recipe.codec, recipe.seed)
    routing = Routing(tree, statistics, leaves, leaf_of_row, wear, reach)
    return IndexState(routing, vectors, IdMap(ids, np.ones(len(ids), bool)), columns, recipe.backend)


def _read_codes(
    path: Path,
    tree: SemanticHierarchy,
    arrays: StoredArrays,
    rows: StoredArrays,
    codec: Codec,
    sizes: NDArray[np.int64],
) -> Leaves:
    count = int(sizes.sum())
    listed = rows.take("listed", np.int64, (count,), 0, count - 1)
    in_place = np.repeat(np.arange(len(sizes)), sizes)
    once = bool((np.bincount(listed, minlength=count) == 1).all())
    fits = once and bool((rows.arrays["leaf"][listed] == in_place).all())
    rows.expect(fits, "listed has not each row once, in its leaf")
    book = arrays.take("book", np.float32, (book_size(codec, tree.width),), -2 * LONGEST, 2 * LONGEST)
    parts = int(arrays.take("parts", np.int64, (1,))[0])
    known = (tree.width,) if codec == "sq8" else part_counts(tree.width)
    arrays.expect(parts in known, f"codes of {parts} parts, expected {' or '.join(map(str, known))}")
    leaves = Leaves.with_book(tree.centroids[-1], codec, parts, book)
    leaves.load(sizes, listed, open_rows(path, np.uint8, (int(code_bytes(codec, parts, sizes).sum()),)))
    return leaves


def _begin(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
