"""Construction of an ERS index's content: a tree from a sample, then one pass over all vectors in chunks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.backend import Chosen
from retrieval.ers.beam_search import nearest_leaves
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import SAMPLE_PER_LEAF, SemanticHierarchy, distinct, leaves_for
from retrieval.ers.ids import IdMap
from retrieval.ers.inverted_lists import TRAINING_ROWS, Codec, Leaves
from retrieval.ers.metadata import Columns, Metadata
from retrieval.ers.state import IndexState
from retrieval.ers.vectors import Precision, VectorStore, fit_half
from retrieval.validation import check_ids, check_vectors

_CHUNK = 16_384


def build_content(
    vectors: NDArray[np.float32],
    ids: NDArray[np.int64],
    metadata: Metadata | None,
    *,
    codec: Codec,
    precision: Precision,
    leaves: int | None,
    depth: int,
    half_life: float,
    seed: int,
    backend: Chosen,
) -> IndexState:
    """The content, without anything learned; arguments and errors as in `ErsIndex` and its `build`."""
    if not (isinstance(vectors, np.memmap) and vectors.dtype == np.float32):
        vectors = check_vectors(vectors, "vectors")
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"vectors of shape {vectors.shape}: expected [N, D] with at least one vector")
    count = len(vectors)
    ids = check_ids(ids, count)
    columns = Columns.build(metadata, count)
    leaf_count = min(leaves or leaves_for(count), count)
    rng = np.random.default_rng(seed)
    size = min(count, max(SAMPLE_PER_LEAF * leaf_count, 16))
    sample = check_vectors(vectors[np.sort(rng.choice(count, size, replace=False))], "the sample of vectors")
    sample = distinct(sample)
    tree = SemanticHierarchy.train(sample, min(leaf_count, len(sample)), depth=depth, seed=seed)
    few = len(sample) <= TRAINING_ROWS
    codec_sample = sample if few else rng.choice(sample, TRAINING_ROWS, replace=False)
    codes = Leaves.train(tree.centroids[-1], codec_sample, codec)
    kept_as_is = isinstance(vectors, np.memmap) and precision == "float32"
    stored = vectors if kept_as_is else np.empty(vectors.shape, precision)
    leaf_of_row = np.empty(count, np.int64)
    for at in range(0, count, _CHUNK):
        chunk = check_vectors(vectors[at : at + _CHUNK], f"vectors[{at}:]")
        if precision == "float16":
            fit_half(chunk, f"vectors[{at}:]")
        rows = np.arange(at, at + len(chunk))
        leaf_of_row[rows] = nearest_leaves(tree, chunk, backend)
        codes.fill(chunk, rows, leaf_of_row[rows])
        if not kept_as_is:
            stored[rows] = chunk
    codes.seal()
    statistics = EdgeStatistics(tree, half_life)
    priors = statistics.prior(0.0, 0.0)
    living = IdMap(ids, np.ones(count, bool))
    return IndexState(
        tree, statistics, codes, VectorStore(stored), living, leaf_of_row, columns, priors, backend
    )
