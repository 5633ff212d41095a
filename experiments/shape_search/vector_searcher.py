"""Searcher of embeddings that another model has made: ERS on its vectors, without a re-ranker of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import UserError, settings_of
from experiments.shape_search.answers import Answer, Answers, Stopwatch
from experiments.shape_search.outside_vectors import read_outside, unit_vectors
from experiments.shape_search.query_encoder import SentenceEncoder
from experiments.shape_search.relevance import backend_for, moved
from experiments.shape_search.where_filters import CAPTION, CATEGORY, ID, matching, rows_matching
from retrieval import ErsIndex

DRAWN_POINTS = 2048


class VectorSearcher:
    """Search of vectors from a file, see `experiments.shape_search.outside_vectors`.

    Args:
        embeddings: The file.
        encoder: Name or folder of the sentence-transformers model that encodes queries into the same space;
            None where queries are vectors.

    Attributes:
        index: ERS over the vectors; ids are rows.

    Raises:
        UserError: The file cannot be read, or there is no such model or one of another width.
    """

    def __init__(self, embeddings: str | Path, encoder: str | None = None) -> None:
        self._path = Path(embeddings)
        self.outside = read_outside(self._path)
        self.index = ErsIndex(backend=backend_for(len(self)))
        rows = np.arange(len(self.outside.ids))
        self._columns: dict[str, Sequence[str]] = {
            CATEGORY: self.outside.texts["category"],
            CAPTION: self.outside.texts["caption"],
            ID: self.outside.ids,
        }
        with settings_of(f"embeddings={embeddings}"):
            self.index.build(
                self.outside.vectors, rows, {name: list(own) for name, own in self._columns.items()}
            )
        self._encoder = None if encoder is None else SentenceEncoder(encoder)
        if self._encoder is not None:
            with settings_of(f"encoder={encoder}"):
                self._encoder.check()

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.outside.ids)

    def search(
        self,
        query: str | NDArray[np.floating],
        k: int = 10,
        where: str | None = None,
        *,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
        name: str = "",
    ) -> Answers:
        """Shapes nearest to words or to a vector.

        Args:
            query: Words, with an encoder; or a vector ``[D]``.
            k: How many, at most as many as there are.
            where: Filter, see `experiments.shape_search.where_filters`.
            like: Rows of shapes that are meant.
            unlike: Rows of shapes that are not.
            name: Of the query, where it is a vector.

        Raises:
            UserError: Words without an encoder, a vector of another width, or as `Searcher.search`.
        """
        watch = Stopwatch()
        if not 1 <= k <= len(self):
            raise UserError(
                f"k={k}: expected a whole number from 1 to {len(self):,}, the vectors that there are"
            )
        values = None if where is None else matching(where, self._columns)
        left = range(len(self)) if values is None else rows_matching(values, self._columns)
        count = min(k, len(set(left) - set(unlike)))
        if not count:
            raise UserError(f"where={where}: no shape fits all of it")
        with watch.stage("encode"):
            vector = moved(self._vector(query), self.outside.vectors, like, unlike)
        with watch.stage("ers"):
            wanted = min(count + len(unlike), len(self))
            ids, scores = self.index.search(vector, wanted, where=values)
        kept = (ids[0] >= 0) & ~np.isin(ids[0], np.asarray(unlike, np.int64))
        pairs = zip(ids[0][kept][:count].tolist(), scores[0][kept][:count].tolist(), strict=True)
        texts = self.outside.texts
        found = tuple(
            Answer(
                rank,
                score,
                self.outside.ids[row],
                texts["caption"][row],
                texts["category"][row],
                texts["file"][row] or self.outside.ids[row],
                row,
            )
            for rank, (row, score) in enumerate(pairs, 1)
        )
        said = query if isinstance(query, str) else name or "a vector"
        words = "vectors of another model have none"
        return Answers(said, "cosine", "none", words, where or "", found, len(self), (), watch.seconds)

    def teach(self, query: str, row: int) -> str:
        """Has ERS learn that a shape was meant by words, for as long as this searcher is there.

        Returns:
            One line on what is kept.
        """
        self.index.learn()
        self.index.feedback(self._vector(query)[0], row)
        self.index.freeze()
        return "ERS has learned that, for as long as this search stands"

    def clouds(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Points ``[n, P, 3]`` of the shapes whose files can be read, NaN elsewhere, and their colors."""
        from experiments.shape_search.shape_file import read_shape  # readers of meshes are slow to load

        points = np.full((len(rows), DRAWN_POINTS, 3), np.nan, np.float32)
        colors = np.zeros((len(rows), DRAWN_POINTS, 3), np.uint8)
        for place, row in enumerate(rows):
            path = Path(self.outside.texts["file"][row])
            path = path if path.is_absolute() else self._path.parent / path
            try:
                record = read_shape(path, DRAWN_POINTS)
            except UserError:
                continue  # its panel stays empty
            points[place], colors[place] = record.points.astype(np.float32), record.colors
        return points, colors

    def _vector(self, query: str | NDArray[np.floating]) -> NDArray[np.float32]:
        """The query ``[1, D]`` of unit length."""
        if isinstance(query, str):
            if self._encoder is None:
                raise UserError(f"{query!r}: words need encoder=MODEL; or give vectors=FILE of queries")
            vector = self._encoder.vectors([query])
        else:
            vector = np.asarray(query).reshape(1, -1)
        found = unit_vectors(np.asarray(vector), "the query")
        width = self.outside.vectors.shape[1]
        if found.shape[1] != width:
            raise UserError(
                f"a query of width {found.shape[1]}: embeddings={self._path} has vectors of width {width}; "
                "expected the model that made them"
            )
        return found
