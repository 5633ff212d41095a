"""New inverted lists out of old ones: most are taken as they are, a few are cut, filled or made anew.

The old lists are only read, so that searches may go on in them meanwhile.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.inverted_lists import Leaves

_BLOCK = 32  # vectors that fast scan interleaves
_PERMUTED = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])  # see `kernels.simd`


def relist(
    old: Leaves,
    centroids: Floats,
    origin: Ints,
    before: Ints,
    vectors: Floats,
    rows: Ints,
    leaves: Ints,
) -> Leaves:
    """Leaves that differ from others in some lists; the codes' books stay.

    Args:
        old: What there is.
        centroids: ``[M, D]`` of the new leaves.
        origin: ``[M]`` the old leaf whose list a new one takes, with the same centroid; -1 where it begins
            empty.
        before: ``[n]`` the old leaf of each row that is coded anew.
        vectors: ``[n, D]`` contiguous, of those rows.
        rows: ``[n]`` the rows.
        leaves: ``[n]`` the new leaf of each.
    """
    made = Leaves.with_book(centroids, old.codec, old.parts, old.book)
    plain = made.index
    receives = np.bincount(leaves, minlength=len(centroids)) > 0
    loses = np.bincount(before, minlength=len(old.sizes())) > 0
    sizes = old.sizes()
    whole = np.flatnonzero((origin >= 0) & ~receives & ~loses[origin] & (sizes[origin] > 0))
    if old.codec == "sq8":
        whole = whole[:0]
    changed = (origin >= 0) & (sizes[origin] > 0)
    changed[whole] = False
    gone = np.zeros(max([1 + int(rows.max(initial=-1)), *_ends(old, origin[changed])]), bool)
    gone[rows] = True
    for new in np.flatnonzero(changed).tolist():
        stays = ~gone[old.rows_of(int(origin[new]))]
        _copy_codes(old, int(origin[new]), stays, plain.invlists, new)
    if len(rows):
        made.fill(vectors, rows, leaves)
    if old.codec == "pq":
        made.seal()
        _copy_blocks(old, origin[whole], made, whole)
    made.index.ntotal = int(made.sizes().sum())
    return made


def _ends(old: Leaves, leaves: Ints) -> list[int]:
    """For each leaf the number behind its last row."""
    return [1 + int(old.rows_of(leaf).max(initial=-1)) for leaf in leaves.tolist()]


def _copy_codes(old: Leaves, leaf: int, kept: NDArray[np.bool_], lists: Any, new: int) -> None:
    """Adds the codes and rows ``kept`` of a leaf to a list of plain codes."""
    rows = np.ascontiguousarray(old.rows_of(leaf)[kept])
    if not len(rows):
        return
    codes = np.ascontiguousarray(plain_codes(old, leaf)[kept])
    lists.add_entries(new, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))


def plain_codes(leaves: Leaves, leaf: int) -> NDArray[np.uint8]:
    """``[size, bytes]``: the codes of a leaf's vectors; of two 4-bit codes the first is the lower half."""
    lists = leaves.index.invlists
    size = lists.list_size(leaf)
    if leaves.codec == "sq8":
        return faiss.rev_swig_ptr(lists.get_codes(leaf), size * leaves.index.code_size).reshape(size, -1)
    parts = leaves.index.M2
    blocks = -(-size // _BLOCK)
    packed = faiss.rev_swig_ptr(lists.get_codes(leaf), blocks * 16 * parts).reshape(blocks, parts, 16)
    numbers = np.empty((blocks, _BLOCK, parts), np.uint8)
    numbers[:, _PERMUTED] = (packed & 15).transpose(0, 2, 1)
    numbers[:, _PERMUTED + 16] = (packed >> 4).transpose(0, 2, 1)
    flat = numbers.reshape(blocks * _BLOCK, parts)[:size]
    codes: NDArray[np.uint8] = flat[:, ::2] | (flat[:, 1::2] << 4)
    return codes[:, : leaves.index.pq.code_size]


def _copy_blocks(old: Leaves, origin: Ints, made: Leaves, lists: Ints) -> None:
    """Copies the lists of old leaves ``[n]``, codes in blocks, into empty ``lists`` ``[n]``."""
    source, target = old.index.invlists, made.index.invlists
    block_bytes = made.index.get_CodePacker().block_size
    for leaf, new in zip(origin.tolist(), lists.tolist(), strict=True):
        size = source.list_size(leaf)
        target.resize(new, size)
        made.rows_of(new)[:] = old.rows_of(leaf)
        used = -(-size // _BLOCK) * block_bytes
        codes = faiss.rev_swig_ptr(target.get_codes(new), used)
        codes[:] = faiss.rev_swig_ptr(source.get_codes(leaf), used)
