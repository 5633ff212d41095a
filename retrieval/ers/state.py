"""What an ERS index holds, how a change goes through all of it alike, and what a filter leaves of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.beam_search import descend
from retrieval.ers.fast_search import FastPath
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import Leaves
from retrieval.ers.metadata import Columns, Where, conditions
from retrieval.ers.vectors import VectorStore

_CODES_AN_EXACT_SCORE = 32  # codes scanned in the time that one exact vector takes to be fetched and scored
_KEPT_FILTERS = 4


@dataclass(frozen=True)
class Selection:
    """What a filter lets through.

    Attributes:
        rows: ``[m]`` the living rows that match, ascending.
        bits: a bit for each row up to the last, little-endian.
        open_leaves: ``[M]`` whether a leaf has any.
        closed: per level ``[M_l]`` float32, minus infinity for nodes without any, 0 for others.
    """

    rows: Ints
    bits: NDArray[np.uint8]
    open_leaves: NDArray[np.bool_]
    closed: list[Floats]


@dataclass
class IndexState:
    """All that `ErsIndex.build` makes, exchanged as one so that a failed build changes nothing.

    The caller sees to it that a change has it alone.
    """

    tree: SemanticHierarchy
    statistics: EdgeStatistics
    leaves: Leaves
    vectors: VectorStore
    ids: IdMap
    home: Ints  # [n] the leaf of each row
    columns: Columns
    priors: list[Floats]
    _selections: dict[frozenset, Selection] = field(default_factory=dict)
    fast: FastPath | None = field(init=False)

    def __post_init__(self) -> None:
        self.fast = FastPath(self.tree, self.leaves) if FastPath.serves(self.leaves) else None

    def put(self, vectors: Floats | None, ids: Ints, metadata: dict[str, NDArray]) -> None:
        """Adds vectors, replacing those whose ids are there; what metadata does not name stays.

        Args:
            vectors: ``[n, D]`` checked; None where only metadata change.
            ids: ``[n]`` checked.
            metadata: values that `Columns.check` returned.
        """
        self._selections.clear()
        before = self.ids.rows(ids)
        if vectors is None:
            self.columns.write(before, metadata)
            return
        known = before >= 0
        rows = self.ids.vacant(len(ids), self.vectors.first_writable)
        self.vectors.write(rows, vectors)
        self.columns.copy(before[known], rows[known])
        self.columns.write(rows, metadata)
        self._remove(ids[known], before[known])
        self.ids.add(ids, rows)
        if len(self.ids.alive) > len(self.home):
            longer = np.zeros(len(self.ids.alive) - len(self.home), np.int64)
            self.home = np.concatenate([self.home, longer])
        self.home[rows] = self.leaves.append(vectors, rows)

    def drop(self, ids: Ints) -> None:
        """Takes out ids that are all there."""
        self._selections.clear()
        self._remove(ids, self.ids.rows(ids))

    def _remove(self, ids: Ints, rows: Ints) -> None:
        if len(ids):
            self.ids.remove(ids)
            self.leaves.discard(rows)

    def everything(self) -> Ints:
        """The living rows, ascending."""
        return np.flatnonzero(self.ids.alive)

    def select(self, where: Where) -> Selection:
        """The rows that a filter lets through; the last few filters are remembered until a change.

        Raises:
            ValueError: if the filter names an unknown column, or does not fit its type.
        """
        chosen = conditions(where)
        key = frozenset(chosen.items())
        known = self._selections.get(key)
        if known is not None:
            return known
        mask = self.columns.matching(chosen) & self.ids.alive
        rows = np.flatnonzero(mask)
        matches = np.bincount(self.home[rows], minlength=self.tree.leaf_count)
        closed: list[Floats] = []
        counts = matches
        for level in range(self.tree.depth - 1, -1, -1):
            closed.insert(0, np.where(counts > 0, 0, -np.inf).astype(np.float32))
            above = len(self.tree.first_child[level]) - 1
            counts = np.bincount(self.tree.parents(level), weights=counts, minlength=above)
        selection = Selection(rows, np.packbits(mask, bitorder="little"), matches > 0, closed)
        while len(self._selections) >= _KEPT_FILTERS:
            self._selections.pop(next(iter(self._selections), key), None)
        self._selections[key] = selection
        return selection

    def candidates(self, queries: Floats, where: Where, beam: int, wanted: int, depth: int) -> Ints:
        """Rows to rescore for a filtered search.

        The filter is looked at while codes are scanned. The beam widens by the share of rows that match, is
        spent on leaves that have any, and widens again for queries that found too few.

        Args:
            queries: ``[Q, D]`` checked.
            where: the filter.
            beam: leaves an unfiltered query would visit.
            wanted: results that each query gets where as many match.
            depth: candidates a query.

        Returns:
            ``[Q, C]`` rows, -1 for none.
        """
        chosen = self.select(where)
        matching, leaf_count = len(chosen.rows), self.tree.leaf_count
        if not matching:
            return np.full((len(queries), 1), -1, np.int64)
        open_leaves = int(chosen.open_leaves.sum())
        beam = min(-(-beam * len(self.ids) // matching), open_leaves)
        codes = beam * len(self.ids) // leaf_count
        if matching <= max(depth, codes // _CODES_AN_EXACT_SCORE):
            return np.broadcast_to(chosen.rows, (len(queries), matching))
        priors = [prior + closed for prior, closed in zip(self.priors, chosen.closed, strict=True)]
        found = np.empty((len(queries), depth), np.int64)
        short = np.arange(len(queries))
        while True:
            asking = np.ascontiguousarray(queries[short])
            kept, similarities = descend(self.tree, priors, asking, beam)
            visited = np.where(chosen.open_leaves[kept[-1]], kept[-1], -1)
            found[short] = self.leaves.scan(asking, visited, similarities, depth, chosen.bits)
            short = short[(found[short] >= 0).sum(axis=1) < min(wanted, matching)]
            if not len(short) or beam >= leaf_count:
                break
            beam = min(4 * beam, leaf_count)
        if len(short):  # faiss's fast scan leaves out what scores lowest by the codes
            rows = np.broadcast_to(chosen.rows, (len(short), matching))
            best, _ = self.vectors.refine(queries[short], rows, self.ids.of_row, depth)
            found[short] = self.ids.rows(best)
        return found

    def resident_bytes(self) -> int:
        """Memory of all parts; a memory map counts nothing, for the system may drop its pages."""
        tree = sum(part.nbytes for part in (*self.tree.centroids, *self.priors))
        tree += sum(part.nbytes for part in self.tree.first_child)
        tree += sum(part.nbytes for part in (*self.statistics.visits, *self.statistics.successes))
        rows = self.ids.nbytes + self.home.nbytes + self.columns.resident_bytes()
        return tree + rows + self.leaves.nbytes + self.vectors.nbytes
