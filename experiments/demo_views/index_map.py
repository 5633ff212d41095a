"""Map of a library: the tree of its index, node by node, with names, sizes and what feedback has taught."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import UserError, settings_of
from experiments.shape_search.library_files import INDEX
from experiments.shape_search.where_filters import CAPTION, CATEGORY, ID
from retrieval import ErsIndex, name_nodes
from retrieval.ers.hierarchy import Ints, SemanticHierarchy
from retrieval.ers.inspect import IndexSummary, read_outline
from retrieval.ers.node_labels import sizes_of_nodes

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Searcher

WORDS = 3
"""Words that name a node."""
MOST_CHILDREN = 400
"""Children of a node that are told of one by one."""
SAMPLES = 12
"""Shapes by which a node is pictured."""
MOST_SHAPES = 60
"""Shapes of a node that are told of at a time."""


class IndexMap:
    """Tree of the index of a searcher's library, read anew once somebody has taught it; or of another index.

    Args:
        searcher: Of the run.
        other: Folder of an index whose tree is shown instead.

    Raises:
        UserError: The other index cannot be read.
    """

    def __init__(self, searcher: Searcher, other: Path | None = None) -> None:
        self.searcher = searcher
        self._other: ErsIndex | None = None
        self._folder = searcher.library.folder / INDEX
        if other is not None:
            with settings_of(f"index={other}"):
                self._other, self._folder = ErsIndex.load(other), other
        self._lock = Lock()
        self._index: object = None
        self._tree: _NamedTree | None = None

    def node(self, level: int = -1, node: int = 0) -> dict[str, Any]:
        """A node and its children, the largest first; as plain values.

        Args:
            level: Of the node, from 0; -1 is the root.
            node: Its number on the level.

        Raises:
            UserError: There is no such node.
        """
        tree = self._current()
        tree.check(level, node)
        children = tree.children(level, node)
        order = sorted(children, key=lambda child: -int(tree.sizes[level + 1][child]))
        shown = [
            tree.figures(level + 1, child) | {"samples": self._samples(tree, level + 1, child)}
            for child in order[:MOST_CHILDREN]
        ]
        return {
            **tree.figures(level, node),
            "path": [tree.figures(*step) for step in tree.path(level, node)],
            "children": shown,
            "left_out": len(order) - len(shown),
            "feedbacks": round(tree.outline.feedbacks, 1),
            "depth": tree.hierarchy.depth,
        }

    def shapes(self, level: int, node: int, start: int = 0) -> dict[str, Any]:
        """The shapes below a node, `MOST_SHAPES` at a time; as plain values.

        Args:
            level: Of the node, from 0; -1 is the root.
            node: Its number on the level.
            start: Place of the first one.

        Raises:
            UserError: There is no such node.
        """
        tree = self._current()
        tree.check(level, node)
        places = tree.places(level, node)
        some = places[max(start, 0) :][:MOST_SHAPES].tolist()
        own = self._other is None  # whose ids are rows of the library
        shapes = [
            {
                "row": int(tree.outline.ids[place]) if own else None,
                "id": str(tree.outline.ids[place]) if tree.ids is None else tree.ids[place],
                "caption": tree.captions[place] if tree.captions else "",
                "category": tree.categories[place] if tree.categories else "",
            }
            for place in some
        ]
        return {"count": len(places), "start": start, "shapes": shapes}

    def health(self) -> dict[str, Any]:
        """The index's health, see `retrieval.ers.maintenance.Health`, with a sentence; as plain values."""
        index = self._other or self.searcher.index
        found = index.health()
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(found).items()
        }
        if found.owes:
            said = (
                f"The index owes maintenance: {found.owed_leaves:,} of {found.leaves:,} leaves are to be "
                "split, merged or centered"
            )
            said += ", and its codes are worn." if found.worn else "."
        else:
            said = "The index is sound: nothing is owed to changes."
        return {"sentence": said, "owes": found.owes, "index": repr(index), **plain}

    def _samples(self, tree: _NamedTree, level: int, node: int) -> list[int]:
        """Rows of a few shapes below a node, far apart in the library; none of another index."""
        if self._other is not None:
            return []
        places = tree.places(level, node)
        some = np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(np.int64)
        return [int(row) for row in tree.outline.ids[places[some]]] if len(places) else []

    def _current(self) -> _NamedTree:
        with self._lock:
            if self._tree is None or self._index is not self.searcher.index:
                self._index = self.searcher.index
                self._tree = _NamedTree(read_outline(self._folder))
            return self._tree


class _NamedTree:
    """A tree with its names; the root is level -1."""

    def __init__(self, outline: IndexSummary) -> None:
        self.outline = outline
        self.captions, self.categories, self.ids = (outline.texts(name) for name in (CAPTION, CATEGORY, ID))
        self.hierarchy: SemanticHierarchy = outline.tree
        leaf_sizes = np.bincount(outline.leaves, minlength=self.hierarchy.leaf_count)
        self.sizes = sizes_of_nodes(self.hierarchy, leaf_sizes)
        leaves = outline.leaves if self.captions else outline.leaves[:0]
        self.names = name_nodes(self.hierarchy, leaves, self.captions or [], words=WORDS)

    def check(self, level: int, node: int) -> None:
        """Refuses a node that there is not.

        Raises:
            UserError: It is none of the tree's.
        """
        depth = self.hierarchy.depth
        if not -1 <= level < depth:
            raise UserError(f"level={level}: expected -1 (the root) to {depth - 1}")
        count = 1 if level < 0 else len(self.hierarchy.centroids[level])
        if not 0 <= node < count:
            raise UserError(f"node={node}: expected 0 to {count - 1} on level {level}")

    def children(self, level: int, node: int) -> range:
        """Numbers of a node's children on the next level; none of a leaf."""
        if level + 1 >= self.hierarchy.depth:
            return range(0)
        bounds = self.hierarchy.first_child[level + 1]
        return range(int(bounds[node]), int(bounds[node + 1]))

    def path(self, level: int, node: int) -> list[tuple[int, int]]:
        """Level and number of the nodes from the root down to this one, itself included."""
        found = []
        while level >= 0:
            found.append((level, node))
            node, level = int(self.hierarchy.parents(level)[node]), level - 1
        return [(-1, 0), *reversed(found)]

    def places(self, level: int, node: int) -> Ints:
        """Places of the vectors below a node."""
        first, last = node, node + 1
        if level < 0:
            first, last = 0, len(self.hierarchy.centroids[0])
        for below in range(max(level + 1, 1), self.hierarchy.depth):
            bounds = self.hierarchy.first_child[below]
            first, last = int(bounds[first]), int(bounds[last])
        inside = (self.outline.leaves >= first) & (self.outline.leaves < last)
        return np.flatnonzero(inside)

    def figures(self, level: int, node: int) -> dict[str, Any]:
        """What is known of a node, as plain values."""
        if level < 0:
            visits = self.outline.feedbacks
            name, size = "all shapes", int(self.sizes[0].sum())
            successes = float(self.outline.successes[0].sum())
        else:
            name, size = self.names[level][node] or f"node {node}", int(self.sizes[level][node])
            visits = _at(self.outline.visits, level, node)
            successes = _at(self.outline.successes, level, node)
        return {
            "level": level,
            "node": node,
            "name": name,
            "size": size,
            "visits": round(float(visits), 1),
            "successes": round(float(successes), 1),
            "children_count": len(self.children(level, node)),
        }


def _at(counts: Sequence[NDArray[np.float64]], level: int, node: int) -> float:
    return float(counts[level][node])
