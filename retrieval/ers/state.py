"""The content of an ERS index: its parts, the ways to change and the ways to search all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.backend import Chosen
from retrieval.ers.beam_search import descend, nearest_leaves
from retrieval.ers.fast_search import FastSearch
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy
from retrieval.ers.ids import Growing, IdMap
from retrieval.ers.inverted_lists import Leaves
from retrieval.ers.lengths import WIDER as WIDER_BY_REACH
from retrieval.ers.lengths import by_reach, differ, longest
from retrieval.ers.metadata import Columns, Where, conditions
from retrieval.ers.vectors import VectorStore
from retrieval.ers.wear import Wear

CODES_PER_EXACT_SCORE = 32
"""Codes scanned in the time that one exact vector takes to be fetched and scored."""
WIDER = 4
"""Factor by which the beam grows for a query that found fewer than it asked for."""
_KEPT_FILTERS = 4


@dataclass(frozen=True)
class Selection:
    """Rows and tree nodes that a filter lets through.

    Attributes:
        rows: ``[m]`` the living rows that match, ascending.
        bits: A bit for each row up to the last, little-endian.
        open_leaves: ``[M]`` whether a leaf has any.
        closed: Per level ``[M_l]`` float32, minus infinity for nodes without any, 0 for others.
    """

    rows: Ints
    bits: NDArray[np.uint8]
    open_leaves: NDArray[np.bool_]
    closed: list[Floats]


class Routing(NamedTuple):
    """The part of an index that leads to vectors; maintenance makes another for the same rows.

    Attributes:
        tree: The hierarchy of ``M`` leaves.
        statistics: What feedback has taught about its edges.
        leaves: The codes in its leaves.
        leaf_of_row: ``[n]`` the leaf of each row.
        wear: What changes have done to it.
        reach: ``[M]`` the length of the longest vector that each leaf has had.
    """

    tree: SemanticHierarchy
    statistics: EdgeStatistics
    leaves: Leaves
    leaf_of_row: Ints
    wear: Wear
    reach: Floats


class IndexState:
    """All that `ErsIndex.build` makes, exchanged as one so that a failed build changes nothing.

    The caller sees to it that nothing else uses it during a change.
    """

    tree: SemanticHierarchy
    statistics: EdgeStatistics
    leaves: Leaves
    leaf_of_row: Ints
    wear: Wear
    reach: Floats
    priors: list[Floats]

    def __init__(
        self, routing: Routing, vectors: VectorStore, ids: IdMap, columns: Columns, backend: Chosen
    ) -> None:
        self.vectors, self.ids, self.columns, self.backend = vectors, ids, columns, backend
        self._selections: dict[frozenset, Selection] = {}
        self.reroute(routing, self.fast_search(routing), routing.statistics.prior(0.0, 0.0))

    def fast_search(self, routing: Routing) -> FastSearch | None:
        """The compiled search by a routing; None where there is none."""
        if self.backend != "numba" or not FastSearch.serves(routing.leaves):
            return None
        return FastSearch(routing.tree, routing.leaves, self.vectors, self.ids)

    def reroute(self, routing: Routing, fast: FastSearch | None, priors: list[Floats]) -> None:
        """Takes another routing for the same rows, with its `fast_search` and its priors."""
        self.tree, self.statistics, self.leaves, self.leaf_of_row, self.wear, self.reach = routing
        self._leaf_of_row = Growing(self.leaf_of_row)
        self._fast, self.priors = fast, priors
        self._selections.clear()
        self._by_reach = by_reach(self.tree, self.reach) if differ(self.reach) else None

    def put(self, vectors: Floats | None, ids: Ints, metadata: dict[str, NDArray]) -> None:
        """Adds vectors, replacing those whose ids are there; what metadata does not name stays.

        Everything that takes memory comes before anything that is seen: what an error ends leaves the content
        as it was.

        Args:
            vectors: ``[n, D]`` checked; None where only metadata change.
            ids: ``[n]`` checked.
            metadata: Values that `Columns.check` returned.
        """
        self._forget_rows()
        before = self.ids.rows(ids)
        if vectors is None:
            self.columns.write(before, metadata)
            return
        known = before >= 0
        rows = self.ids.vacant(len(ids), self.vectors.first_writable)
        change = self.ids.plan(ids, rows, ids[known])
        leaf_of_row = self._leaf_of_row.longer(change.length)
        self.vectors.write(rows, vectors)
        try:
            self.columns.copy(before[known], rows[known])
            self.columns.write(rows, metadata)
            leaves = nearest_leaves(self.tree, vectors, self.backend)
            self.leaves.append(vectors, rows, leaves)
            reach, ranked = np.maximum(self.reach, longest(vectors, leaves, len(self.reach))), self._by_reach
            if (reach > self.reach).any():
                ranked = by_reach(self.tree, reach) if differ(reach) else None
            self.leaves.discard(before[known])
        except BaseException:
            self.leaves.discard(rows)
            self.columns.cut(len(self.ids.alive))
            raise
        self.ids.commit(change)
        self._leaf_of_row, self.reach, self._by_reach = leaf_of_row, reach, ranked
        self.leaf_of_row = leaf_of_row.values
        self.wear.change(len(ids))
        self.wear.count(self.leaf_of_row[before[known]])
        self.leaf_of_row[rows] = leaves
        self.wear.count(leaves)

    def reserve(self, ids: Ints, together: int) -> None:
        """Makes room for vectors that `put` will bring under ids ``[n]``, at most ``together`` at a time."""
        new = int((self.ids.rows(ids) < 0).sum())
        rows = self.ids.vacant(new + min(len(ids), together), self.vectors.first_writable)
        length = int(rows.max(initial=-1)) + 1
        self.vectors.reserve(length)
        self.ids.reserve(length)
        self._leaf_of_row = self._leaf_of_row.with_room(length)
        self.leaf_of_row = self._leaf_of_row.values

    def drop(self, ids: Ints) -> None:
        """Takes out ids that are all there."""
        if not len(ids):
            return
        self._forget_rows()
        rows = self.ids.rows(ids)
        change = self.ids.plan(ids[:0], rows[:0], ids)
        self.leaves.discard(rows)
        self.ids.commit(change)
        self.wear.change(len(ids))
        self.wear.count(self.leaf_of_row[rows])

    def _forget_rows(self) -> None:
        self._selections.clear()
        if self._fast is not None:
            self._fast.forget_rows()

    def everything(self) -> Ints:
        """The living rows, ascending."""
        return np.flatnonzero(self.ids.alive)

    def select(self, where: Where) -> Selection:
        """The rows that a filter lets through; the last few filters are remembered until a change.

        Raises:
            ValueError: If the filter names an unknown column, or does not fit its type.
        """
        chosen = conditions(where)
        key = frozenset(chosen.items())
        known = self._selections.get(key)
        if known is not None:
            return known
        mask = self.columns.matching(chosen) & self.ids.alive
        rows = np.flatnonzero(mask)
        matches = np.bincount(self.leaf_of_row[rows], minlength=self.tree.leaf_count)
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

    def search(
        self, queries: Floats, k: int, beam: int, refine: int, where: Where | None = None
    ) -> tuple[Ints, Floats]:
        """The best rows by exact score among those that the index looks at.

        Args:
            queries: ``[Q, D]`` checked.
            k: Results per query, at most as many as there are vectors.
            beam: Leaves scanned per query.
            refine: Candidates rescored exactly per query, at least ``k``.
            where: The filter; none if empty.

        Returns:
            ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity where a filter lets fewer than
            ``k`` through. A query whose leaves hold fewer than ``k`` is searched again in `WIDER` times as
            many, and in the end exactly.
        """
        more = min(k + 1, len(self.ids))  # whether the last one ties with one that is left out
        refine = max(refine, more)
        if where:
            chosen = self.select(where)
            rows = self._filtered(queries, chosen, k, beam, refine)
            if rows.ndim == 1:  # all that match
                return self.vectors.refine(queries, rows, self.ids.of_row, k, self.backend)
            ids, scores = self.vectors.refine(queries, rows, self.ids.of_row, more, self.backend)
            return self._lowest(queries, ids, scores, k, chosen)
        if self._by_reach is not None:
            beam *= WIDER_BY_REACH
        ids, scores = self._searched(queries, more, beam, refine)
        if len(ids) == 1 and ids[0, k - 1] >= 0:  # a single query's time counts
            return self._lowest(queries, ids, scores, k)
        short = np.flatnonzero(ids[:, k - 1] < 0)
        while len(short):  # the leaves of the beam hold fewer than k
            beam = beam * WIDER if beam < self.tree.leaf_count else 0
            again = self._searched(np.ascontiguousarray(queries[short]), more, beam, refine)
            ids[short], scores[short] = again
            short = short[ids[short, k - 1] < 0]
        return self._lowest(queries, ids, scores, k)

    def _lowest(
        self, queries: Floats, ids: Ints, scores: Floats, k: int, chosen: Selection | None = None
    ) -> tuple[Ints, Floats]:
        """The first ``k`` results ``[Q, k]``, ties at the last place broken by the lowest id.

        Copies of a vector have one code and one leaf. Where there are more than candidates, which of them are
        candidates is chance: all of that leaf are looked at.

        Args:
            queries: ``[Q, D]``.
            ids: ``[Q, k + 1]`` the best candidates, or ``[Q, k]`` where there are no more.
            scores: Theirs.
            k: Results per query.
            chosen: The filter, if there is one.
        """
        if ids.shape[1] == k:
            return ids, scores
        last = scores[:, k - 1]
        tied = last == scores[:, k]
        if tied.any():
            for query in np.flatnonzero(tied & (ids[:, k] >= 0)).tolist():
                found = self.ids.rows(ids[query])
                leaves = np.unique(self.leaf_of_row[found[scores[query] == last[query]]])
                rows = np.concatenate([self.leaves.rows_of(leaf) for leaf in leaves.tolist()])
                if chosen is not None:
                    rows = rows[np.isin(rows, chosen.rows)]
                rows = np.union1d(rows, found)
                one = self.vectors.refine(queries[query : query + 1], rows, self.ids.of_row, k, self.backend)
                ids[query, :k], scores[query, :k] = one[0][0], one[1][0]
        return np.ascontiguousarray(ids[:, :k]), np.ascontiguousarray(scores[:, :k])

    def _searched(self, queries: Floats, k: int, beam: int, refine: int) -> tuple[Ints, Floats]:
        """`search` without a filter, in ``beam`` leaves and no others; 0 for an exact search."""
        if not beam or refine >= len(self.ids):
            rows = self.everything()
        elif self._fast is None or self._by_reach is not None:
            rows = self._scanned(queries, self.priors, beam, refine)
        else:
            return self._fast.search(queries, k, beam, refine, self.priors)
        return self.vectors.refine(queries, rows, self.ids.of_row, k, self.backend)

    def descend(self, queries: Floats, beam: int) -> list[Ints]:
        """Nodes that queries reach on each level; see `retrieval.ers.beam_search.descend`."""
        return self._descend(queries, self.priors, beam)[0]

    def _descend(self, queries: Floats, priors: list[Floats], beam: int) -> tuple[list[Ints], Floats]:
        """`retrieval.ers.beam_search.descend`, by the leaves' reach where lengths differ."""
        if self._by_reach is None:
            return descend(self.tree, priors, queries, beam, self.backend)
        tree, lengths = self._by_reach
        kept, similarities = descend(tree, priors, queries, beam, self.backend)
        return kept, similarities / lengths[kept[-1]]

    def _scanned(
        self, queries: Floats, priors: list[Floats], beam: int, refine: int, chosen: Selection | None = None
    ) -> Ints:
        """Rows ``[Q, refine]`` of the best scores by codes in the leaves that queries reach, -1 for none."""
        kept, similarities = self._descend(queries, priors, beam)
        leaves, allowed = kept[-1], None
        if chosen is not None:
            leaves, allowed = np.where(chosen.open_leaves[leaves], leaves, -1), chosen.bits
        return self.leaves.scan(queries, leaves, similarities, refine, allowed)

    def _filtered(self, queries: Floats, chosen: Selection, k: int, beam: int, refine: int) -> Ints:
        """Rows to rescore under a filter: ``[Q, C]``, -1 for none, or ``[C]`` for all queries alike.

        The filter is looked at while codes are scanned. The beam widens by the share of rows that match, is
        spent on leaves that have any, and widens again for queries that found too few.
        """
        matching, leaf_count = len(chosen.rows), self.tree.leaf_count
        if not matching:
            return np.array([-1])
        if self._by_reach is not None:
            beam *= WIDER_BY_REACH
        beam = min(-(-beam * len(self.ids) // matching), int(chosen.open_leaves.sum()))
        codes = beam * len(self.ids) // leaf_count
        if matching <= max(refine, codes // CODES_PER_EXACT_SCORE):
            return chosen.rows
        priors = [prior + closed for prior, closed in zip(self.priors, chosen.closed, strict=True)]
        found = np.empty((len(queries), refine), np.int64)
        short = np.arange(len(queries))
        while True:
            found[short] = self._scanned(np.ascontiguousarray(queries[short]), priors, beam, refine, chosen)
            short = short[(found[short] >= 0).sum(axis=1) < min(k, matching)]
            if not len(short) or beam >= leaf_count:
                break
            beam = min(WIDER * beam, leaf_count)
        if len(short):  # faiss's fast scan leaves out what scores lowest by the codes
            best, _ = self.vectors.refine(queries[short], chosen.rows, self.ids.of_row, refine, self.backend)
            found[short] = self.ids.rows(best)
        return found

    def resident_bytes(self) -> int:
        """Memory of all parts; a memory map counts nothing, for the system may drop its pages."""
        tree = sum(part.nbytes for part in (*self.tree.centroids, *self.priors))
        tree += sum(part.nbytes for part in self.tree.first_child)
        tree += sum(part.nbytes for part in (*self.statistics.visits, *self.statistics.successes))
        rows = self.ids.nbytes + self._leaf_of_row.nbytes + self.columns.resident_bytes()
        return tree + rows + self.leaves.nbytes + self.vectors.nbytes
