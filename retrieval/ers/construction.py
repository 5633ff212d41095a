"""Construction of an ERS index: a tree and codes from a sample, then one pass over all vectors in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.backend import Chosen
from retrieval.ers.beam_search import nearest_leaves
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import (
    SAMPLE_PER_LEAF,
    Floats,
    Ints,
    SemanticHierarchy,
    distinct,
    leaves_for,
)
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import TRAINING_ROWS, Codec, Leaves
from retrieval.ers.lengths import Metric, longest, unit
from retrieval.ers.metadata import Columns, Metadata
from retrieval.ers.state import IndexState, Routing
from retrieval.ers.vectors import PRECISIONS, Precision, VectorStore, fit_half
from retrieval.ers.wear import Wear
from retrieval.storage import expect_passes
from retrieval.validation import check_ids, check_vectors

CHUNK = 16_384
"""Vectors assigned and coded at a time."""


@dataclass(frozen=True)
class Recipe:
    """Settings by which an index is built, see `retrieval.ErsIndex`."""

    metric: Metric
    codec: Codec
    precision: Precision
    leaves: int | None
    depth: int
    half_life: float
    seed: int
    backend: Chosen

    def leaf_count(self, count: int) -> int:
        """Number of leaves for ``count`` vectors."""
        return max(1, min(self.leaves or leaves_for(count), count))

    def sample_rows(self, count: int) -> tuple[Ints, np.random.Generator]:
        """Rows of the sample that the tree of ``count`` vectors is trained on, and what drew them."""
        rng = np.random.default_rng(self.seed)
        size = min(count, max(SAMPLE_PER_LEAF * self.leaf_count(count), 16))
        return np.sort(rng.choice(count, size, replace=False)), rng


def build_content(
    vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None, recipe: Recipe
) -> IndexState:
    """The content, without anything learned; arguments and errors as in `ErsIndex` and its `build`."""
    mapped = isinstance(vectors, np.memmap) and vectors.dtype in PRECISIONS and vectors.flags.c_contiguous
    if mapped:
        expect_passes(vectors)
    else:
        vectors = check_vectors(vectors, "vectors")
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"vectors of shape {vectors.shape}: expected [N, D] with at least one vector")
    count = len(vectors)
    ids = check_ids(ids, count)
    columns = Columns.build(metadata, count)
    cosine = recipe.metric == "cosine"
    kept_as_is = mapped and vectors.dtype == recipe.precision and not cosine
    stored = vectors if kept_as_is else np.empty(vectors.shape, recipe.precision)

    def chunks() -> Iterator[tuple[Floats, Ints]]:
        for at in range(0, count, CHUNK):
            chunk = check_vectors(vectors[at : at + CHUNK], f"vectors[{at}:]")
            if cosine:
                chunk = unit(chunk)
            if recipe.precision == "float16":
                fit_half(chunk, f"vectors[{at}:]")
            if not kept_as_is:
                stored[at : at + len(chunk)] = chunk
            yield chunk, np.arange(at, at + len(chunk))

    rows, rng = recipe.sample_rows(count)

    def sample() -> Floats:
        drawn = np.empty((len(rows), vectors.shape[1]), np.float32)
        for at in range(0, len(rows), CHUNK):
            drawn[at : at + CHUNK] = check_vectors(vectors[rows[at : at + CHUNK]], "the sample of vectors")
        return unit(drawn) if cosine else drawn

    routing = _route(sample, chunks(), count, count, recipe, rng)
    living = IdMap(ids, np.ones(count, bool))
    return IndexState(routing, VectorStore(stored), living, columns, recipe.backend)


def rebuild(content: IndexState, recipe: Recipe) -> Routing:
    """A tree and codes for what an index holds, as `build_content` would make them of its living vectors."""
    living = content.ids.living_rows()
    rows, rng = recipe.sample_rows(len(living))

    def chunks() -> Iterator[tuple[Floats, Ints]]:
        for at in range(0, len(living), CHUNK):
            some = living[at : at + CHUNK]
            yield content.vectors.read(some), some

    def sample() -> Floats:
        return content.vectors.read(living[rows])

    return _route(sample, chunks(), len(living), len(content.ids.alive), recipe, rng)


def _route(
    draw: Callable[[], Floats],
    chunks: Iterable[tuple[Floats, Ints]],
    count: int,
    rows: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Routing:
    """A tree and codes from a sample ``[S, D]``, filled with ``count`` vectors of rows below ``rows``."""
    sample = distinct(draw())
    leaf_count = min(recipe.leaf_count(count), len(sample))
    tree = SemanticHierarchy.train(sample, leaf_count, depth=recipe.depth, seed=recipe.seed)
    few = len(sample) <= TRAINING_ROWS
    codec_sample = sample if few else rng.choice(sample, TRAINING_ROWS, replace=False)
    codes = Leaves.train(tree.centroids[-1], codec_sample, recipe.codec)
    del sample, codec_sample  # it would stand beside the codes that come
    leaf_of_row = np.zeros(rows, np.int64)
    reach = np.zeros(tree.leaf_count, np.float32)
    for chunk, where in chunks:
        leaf_of_row[where] = nearest_leaves(tree, chunk, recipe.backend)
        codes.fill(chunk, where, leaf_of_row[where])
        reach = np.maximum(reach, longest(chunk, leaf_of_row[where], len(reach)))
    codes.seal()
    statistics = EdgeStatistics(tree, recipe.half_life)
    return Routing(tree, statistics, codes, leaf_of_row, Wear.none(codes.sizes()), reach)
