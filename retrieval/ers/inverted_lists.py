"""The vectors of each leaf as compressed codes, scanned by faiss's own kernels.

faiss is told which leaves to scan (``search_preassigned``): the tree does the routing, faiss the arithmetic.
Rows (0, 1, 2 … in the order of adding) are what is stored and found; ids are the index's business.

faiss's helper ``contrib.ivf_tools.add_preassigned`` stores garbage in an ``IndexIVFPQFastScan`` without an
error (its codes are interleaved by blocks of 32). The first filling therefore goes into a plain 4-bit
``IndexIVFPQ`` that is then converted; later additions are put into their blocks one by one, which
``add_with_ids`` would do after it had compared each with all centroids.
"""

from __future__ import annotations

from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints

Codec = Literal["pq", "sq8"]
CODECS: tuple[Codec, ...] = ("pq", "sq8")
_ENOUGH_TO_LEARN = 256  # vectors
_BLOCK = 32  # vectors that fast scan interleaves
TRAINING_ROWS = 65_536  # more changes neither codec's recall


class Leaves:
    """Inverted lists over the tree's leaves.

    ``pq``: product quantization of the residuals, 4 bits for every 2 dimensions, scanned in registers ("fast
    scan", André et al. 2015): D/4 bytes a vector, meant to be refined. ``sq8``: 8 bits a dimension: D bytes.
    Each row takes 8 bytes more for its number.
    """

    def __init__(self, index: Any, codec: Codec) -> None:
        self.index = index
        self.codec = codec
        self._lists: Ints | None = None
        self._sizes: Ints | None = None

    @classmethod
    def train(cls, centroids: Floats, sample: Floats, codec: Codec) -> Leaves:
        """Empty leaves whose codec has seen a sample.

        Args:
            centroids: ``[M, D]``, the leaves of the tree.
            sample: ``[S, D]``, at least one vector.
            codec: One of `CODECS`.

        Raises:
            ValueError: If the codec is unknown.
        """
        if codec not in CODECS:
            raise ValueError(f"codec={codec!r}: expected one of {', '.join(CODECS)}")
        index = _untrained(centroids, codec, part_counts(centroids.shape[1])[0])
        if codec == "pq":
            index.pq.cp.min_points_per_centroid = 1
        index.train(_varied(np.ascontiguousarray(sample[:TRAINING_ROWS]), index.quantizer))
        return cls(index, codec)

    @classmethod
    def with_book(cls, centroids: Floats, codec: Codec, parts: int, book: Floats) -> Leaves:
        """Empty leaves that code as others do.

        Args:
            centroids: ``[M, D]``, the leaves of the tree.
            codec: Of the others.
            parts: Of the others.
            book: Of the others, of the size `book_size` says.
        """
        index = _untrained(centroids, codec, parts)
        faiss.copy_array_to_vector(np.ascontiguousarray(book), _book_of(index, codec))
        index.is_trained = True
        return cls(index, codec)

    @property
    def parts(self) -> int:
        """Numbers that a code has."""
        return int(self.index.pq.M if self.codec == "pq" else self.index.d)

    @property
    def book(self) -> Floats:
        """All numbers that the codec has learned, a copy."""
        numbers: Floats = faiss.vector_to_array(_book_of(self.index, self.codec))
        return numbers

    def fill(self, vectors: Floats, rows: Ints, leaves: Ints) -> None:
        """Adds vectors to leaves that are known. Only before `seal`.

        Args:
            vectors: ``[n, D]`` contiguous.
            rows: ``[n]``.
            leaves: ``[n]``.
        """
        pointer = faiss.swig_ptr
        rows, leaves = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(leaves, np.int64)
        self.index.add_core(len(vectors), pointer(vectors), pointer(rows), pointer(leaves))
        self._forget()

    def seal(self) -> None:
        """Ends the first filling: product codes are laid out for fast scan, spare memory is given back."""
        if self.codec == "pq":
            plain = self.index
            self.index = faiss.IndexIVFPQFastScan(plain)
            # The new index keeps the old one alive for its quantizer, and with it the old codes.
            plain.replace_invlists(faiss.ArrayInvertedLists(plain.nlist, plain.code_size))
        else:
            self.index = faiss.clone_index(self.index)  # lists that grew are up to twice as long as needed
        self._forget()

    def error(self, vectors: Floats, leaves: Ints) -> float:
        """The squared error of the codes of vectors ``[n, D]`` in leaves ``[n]``, by what they have to tell.

        That is the squared offset from the leaf's centroid: 0 for codes without error, 1 for codes that are
        no better than none.
        """
        offsets = vectors - self.index.quantizer.reconstruct_batch(leaves)
        codec = self.index.pq if self.codec == "pq" else self.index.sq
        told = codec.decode(codec.compute_codes(offsets))
        size = np.square(offsets, dtype=np.float64).sum() + 1e-9 * np.square(vectors, dtype=np.float64).sum()
        return float(np.square(offsets - told, dtype=np.float64).sum() / size)

    def append(self, vectors: Floats, rows: Ints, leaves: Ints) -> None:
        """Adds vectors later; only the lists that they go to are looked at.

        Args:
            vectors: ``[n, D]`` contiguous.
            rows: ``[n]`` ascending.
            leaves: ``[n]`` the leaf of each.
        """
        if not len(rows):
            return
        before, table = self.sizes(), self._lists
        order = np.argsort(leaves, kind="stable")
        grown, starts, counts = np.unique(leaves[order], return_index=True, return_counts=True)
        try:
            if self.codec == "pq":
                ends = zip(grown.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True)
                codes = self._coded(vectors, leaves)
                for leaf, start, end in ends:
                    self._extend(leaf, rows[order[start:end]], codes[order[start:end]])
                self.index.ntotal += len(rows)
            else:
                self.fill(vectors, rows, leaves)
        finally:
            self._forget()
        self._sizes = before.copy()
        self._sizes[grown] += counts
        if table is not None:  # the other lists are where they were
            self._lists = self._located(table, grown)

    def _coded(self, vectors: Floats, leaves: Ints) -> NDArray[np.uint8]:
        """``[n, bytes]``: product codes of vectors ``[n, D]`` in leaves ``[n]``."""
        plain = np.empty((len(vectors), self.index.code_size), np.uint8)
        pointer = faiss.swig_ptr
        leaves = np.ascontiguousarray(leaves, np.int64)
        self.index.encode_vectors(len(vectors), pointer(vectors), pointer(leaves), pointer(plain))
        return plain

    def _extend(self, leaf: int, rows: Ints, codes: NDArray[np.uint8]) -> None:
        """Adds product codes ``[n, bytes]`` of rows ``[n]`` to a leaf."""
        lists, packer = self.index.invlists, self.index.get_CodePacker()
        size = lists.list_size(leaf)
        lists.resize(leaf, size + len(rows))
        self._rows_of(leaf, size + len(rows))[size:] = rows
        blocks = -(-(size + len(rows)) // _BLOCK)
        packed = faiss.rev_swig_ptr(lists.get_codes(leaf), blocks * packer.block_size).reshape(blocks, 1, -1)
        for place, code in enumerate(codes, start=size):
            packer.pack_1(code, place % _BLOCK, packed[place // _BLOCK])

    def discard(self, rows: Ints) -> int:
        """Takes the codes of rows out and returns how many there were."""
        if not len(rows):
            return 0
        library: Any = faiss
        named = np.zeros(int(rows.max(initial=-1)) + 1, bool)
        named[rows] = True
        bits = np.packbits(named, bitorder="little")
        before = self.sizes()
        removed = int(self.index.remove_ids(library.IDSelectorBitmap(bits)))
        self._forget()
        self.index.ntotal = int(self.sizes().sum())  # an addition that an error ended was not counted
        if self.codec == "pq":
            self._blank(np.flatnonzero(self.sizes() < before))
        return removed

    def _blank(self, leaves: Ints) -> None:
        """Clears what stands behind the ends of lists.

        faiss 1.15 leaves the codes of removed vectors there, and its ``add_with_ids`` ORs those of added ones
        on top of them. `append` does not; but equal contents are to be equal bytes when they are saved.
        """
        lists, packer = self.index.invlists, self.index.get_CodePacker()
        blank = np.zeros(packer.code_size, np.uint8)
        for leaf in leaves.tolist():
            full, begun = divmod(lists.list_size(leaf), _BLOCK)
            if begun:
                codes = faiss.rev_swig_ptr(lists.get_codes(leaf), (full + 1) * packer.block_size)
                for place in range(begun, _BLOCK):
                    packer.pack_1(blank, place, codes[None, full * packer.block_size :])

    def rows_of(self, leaf: int) -> Ints:
        """``[size]`` the rows in a leaf: a view of memory of faiss, valid until the list changes."""
        return self._rows_of(leaf, self.index.invlists.list_size(leaf))

    def codes_of(self, leaf: int) -> NDArray[np.uint8]:
        """The bytes that a leaf's codes take, see `code_bytes`: a view of memory of faiss, as `rows_of`."""
        lists = self.index.invlists
        size = int(code_bytes(self.codec, self.parts, np.array([lists.list_size(leaf)]))[0])
        if not size:
            return np.empty(0, np.uint8)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(lists.get_codes(leaf), size)
        return codes

    def load(self, sizes: Ints, rows: Ints, codes: NDArray[np.uint8]) -> None:
        """Fills empty leaves with codes as they are stored, and seals them.

        Args:
            sizes: ``[M]`` codes in each leaf.
            rows: ``[n]`` their rows, leaf by leaf.
            codes: What `codes_of` says of each leaf, one after the other.
        """
        self.seal()
        lists = self.index.invlists
        at = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        ends = np.concatenate([[0], np.cumsum(code_bytes(self.codec, self.parts, sizes))]).tolist()
        for leaf in np.flatnonzero(sizes).tolist():
            lists.resize(leaf, at[leaf + 1] - at[leaf])
            self._rows_of(leaf, at[leaf + 1] - at[leaf])[:] = rows[at[leaf] : at[leaf + 1]]
            self.codes_of(leaf)[:] = codes[ends[leaf] : ends[leaf + 1]]
        self.index.ntotal = at[-1]
        self._forget()

    def _rows_of(self, leaf: int, size: int) -> Ints:
        """``[size]``: a view of memory of faiss, valid until the list changes."""
        if not size:
            return np.empty(0, np.int64)
        rows: Ints = faiss.rev_swig_ptr(self.index.invlists.get_ids(leaf), size)
        return rows

    @property
    def nbytes(self) -> int:
        """Memory of codes, rows and centroids; lists that grew by additions may hold up to twice theirs."""
        sizes = self.sizes()
        if self.codec == "pq":  # blocks of 32, in tables that faiss rounds up to powers of two of 256 bytes
            blocks = -(-sizes // _BLOCK) * self.index.M2 * 16
            codes = np.where(sizes > 0, 2 ** np.ceil(np.log2(np.maximum(blocks, 256))), 0).sum()
        else:
            codes = sizes.sum() * self.index.code_size
        return int(codes + 8 * sizes.sum() + 4 * self.index.d * self.index.nlist)

    def lists(self) -> Ints:
        """``[M, 3]``: where each leaf's codes and its row numbers begin in memory, and how many there are.

        Good until codes are added or discarded, which may move them: to read while another writes needs
        a lock, as for `scan`.
        """
        table = self._lists
        if table is None:
            sizes = self.sizes()
            table = self._located(np.zeros((len(sizes), 3), np.int64), np.flatnonzero(sizes))
            self._lists = table
        return table

    def _located(self, table: Ints, leaves: Ints) -> Ints:
        """The table ``[M, 3]`` of `lists`, in which some leaves, none of them empty, are looked up."""
        lists, sizes = self.index.invlists, self.sizes()
        for leaf in leaves.tolist():
            table[leaf] = int(lists.get_codes(leaf)), int(lists.get_ids(leaf)), sizes[leaf]
        return table

    def sizes(self) -> Ints:
        """``[M]``: codes in each leaf; not to be written to."""
        sizes = self._sizes
        if sizes is None:
            lists = self.index.invlists
            sizes = np.array([lists.list_size(leaf) for leaf in range(lists.nlist)], np.int64)
            self._sizes = sizes
        return sizes

    def _forget(self) -> None:
        """Call it when codes have come or gone."""
        self._lists = self._sizes = None

    def scan(
        self,
        queries: Floats,
        leaves: Ints,
        similarities: Floats,
        k: int,
        allowed: NDArray[np.uint8] | None = None,
    ) -> Ints:
        """The rows that score highest by their codes.

        Args:
            queries: ``[Q, D]`` contiguous.
            leaves: ``[Q, W]``, -1 for none.
            similarities: ``[Q, W]`` of the queries with the leaves' centroids.
            k: Rows a query.
            allowed: Bits of the rows that may be found (`numpy.packbits`, little-endian); None for all. faiss
                looks at it while it scans, so that a filter never empties the list afterwards.

        Returns:
            ``[Q, k]`` rows, best first, -1 where there were fewer.
        """
        leaves = np.ascontiguousarray(leaves, np.int64)
        similarities = np.ascontiguousarray(similarities, np.float32)
        library: Any = faiss
        chosen = {} if allowed is None else {"sel": library.IDSelectorBitmap(allowed)}
        parameters = library.SearchParametersIVF(nprobe=leaves.shape[1], **chosen)
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        pointer = faiss.swig_ptr
        # The Python face of search_preassigned takes no parameters, which the selector needs.
        self.index.search_preassigned_c(
            len(queries),
            pointer(queries),
            k,
            pointer(leaves),
            pointer(similarities),
            pointer(scores),
            pointer(rows),
            False,
            parameters,
        )
        return rows


def part_counts(width: int) -> tuple[int, ...]:
    """Numbers of parts that product codes may cut vectors of ``width`` into, the usual one first."""
    return (width // 2 if width % 2 == 0 else width,)


def _untrained(centroids: Floats, codec: Codec, parts: int) -> Any:
    """An index of plain codes of faiss over centroids ``[M, D]``, without codes or anything learned."""
    leaf_count, width = centroids.shape
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(np.ascontiguousarray(centroids))
    metric = faiss.METRIC_INNER_PRODUCT
    if codec == "sq8":
        kind = faiss.ScalarQuantizer.QT_8bit
        return faiss.IndexIVFScalarQuantizer(quantizer, width, leaf_count, kind, metric, True)
    return faiss.IndexIVFPQ(quantizer, width, leaf_count, parts, 4, metric)


def _book_of(index: Any, codec: Codec) -> Any:
    return index.sq.trained if codec == "sq8" else index.pq.centroids


def book_size(codec: Codec, width: int) -> int:
    """Numbers that a codec learns: ranges of the columns, or 16 centroids of each part."""
    return 2 * width if codec == "sq8" else 16 * width


def code_bytes(codec: Codec, parts: int, sizes: Ints) -> Ints:
    """Bytes that the codes of leaves of ``sizes`` ``[M]`` take, see `Leaves.codes_of`.

    Those of product codes fill blocks, of an even number of parts.
    """
    if codec == "sq8":
        return sizes * parts
    return -(-sizes // _BLOCK) * _BLOCK * (parts + parts % 2) // 2


def _varied(sample: Floats, quantizer: faiss.IndexFlatIP) -> Floats:
    """A sample from which a codec can learn what later vectors may be, were this one a single vector.

    Where every vector is its leaf's centroid (few vectors, or copies of few) the residuals are all zero:
    codes learned from them hold nothing, and fast scan, which scales by their range, would find nothing. Nor
    would it for a query along columns in which the vectors do not differ; those get a thousandth of noise.
    """
    rng = np.random.default_rng(0)
    some = sample[:_ENOUGH_TO_LEARN]
    spread = np.sqrt(np.square(some).mean())
    nearest = quantizer.search(some, 1)[1][:, 0]
    residuals = some - quantizer.reconstruct_batch(nearest)
    if len(some) < _ENOUGH_TO_LEARN or np.square(residuals).mean() <= 1e-6 * spread**2:
        views = np.resize(some, (_ENOUGH_TO_LEARN, some.shape[1]))
        noise = rng.normal(scale=spread, size=views.shape)
        return np.concatenate([sample, (views + noise).astype(np.float32)])
    even = sample.std(axis=0) < 1e-3 * spread
    if even.any():
        sample = sample.copy()
        sample[:, even] += rng.normal(scale=1e-3 * spread, size=(len(sample), int(even.sum())))
    return sample
