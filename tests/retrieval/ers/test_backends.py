"""The compiled backend of `ErsIndex` against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import Between, ErsIndex
from retrieval.ers.backend import Backend
from retrieval.ers.beam_search import FEW_QUERIES, descend
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.inverted_lists import Codec
from retrieval.ers.vectors import Precision, VectorStore


def unit(seed: int, rows: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def built(backend: Backend, width: int, depth: int, precision: Precision, codec: Codec = "pq") -> ErsIndex:
    index = ErsIndex(beam=12, refine=60, depth=depth, precision=precision, codec=codec, backend=backend)
    ids = np.random.default_rng(2).permutation(9000)[:2000]
    index.build(unit(0, 2000, width), ids, {"number": np.arange(2000)})
    return index


@pytest.mark.parametrize(
    ("width", "depth", "precision", "codec"),
    [
        (15, 1, "float32", "pq"),
        (48, 2, "float32", "pq"),
        (48, 2, "float16", "pq"),
        (48, 3, "float32", "pq"),
        (48, 2, "float32", "sq8"),
    ],
)
def test_both_find_the_same(width: int, depth: int, precision: Precision, codec: Codec) -> None:
    queries = unit(1, 60, width)
    compiled, plain = (built(backend, width, depth, precision, codec) for backend in ("numba", "faiss"))
    found, scores = compiled.search(queries, 10)
    theirs, their_scores = plain.search(queries, 10)
    # Leaves at the edge of the beam may change places: compiled routing rounds what it multiplies.
    assert np.mean([np.isin(theirs[q], found[q]).mean() for q in range(60)]) > 0.975
    same = (found == theirs).all(1)
    np.testing.assert_allclose(scores[same], their_scores[same], atol=1e-6)
    for some, options in (
        (queries, {"where": {"number": Between(0, 900)}}),
        (queries[:2], {"where": {"number": Between(0, 900)}}),
        (queries, {"where": {"number": Between(0, 20)}}),
        (queries, {"where": {"number": -1}}),
        (queries[:5], {"refine": 2000}),
    ):
        answers, answer_scores = compiled.search(some, 10, **options)  # type: ignore[arg-type]
        others, other_scores = plain.search(some, 10, **options)  # type: ignore[arg-type]
        assert (answers == others).mean() > 0.99
        np.testing.assert_allclose(answer_scores, other_scores, atol=1e-6)


def test_feedback_counts_alike() -> None:
    indexes = [built(backend, 16, 2, "float32") for backend in ("numba", "faiss")]
    for index in indexes:
        index.learn()
        for number, query in zip(index.ids[:20].tolist(), unit(3, 20, 16), strict=True):
            index.feedback(query, number)
    ours, theirs = (index._built("").statistics.visits for index in indexes)
    for level, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(level, other)


@pytest.mark.parametrize("count", [1, FEW_QUERIES + 1])
@pytest.mark.parametrize("beam", [1, 5, 300])
def test_ties_are_broken_by_the_lowest_node(count: int, beam: int) -> None:
    """Small whole numbers, whose products are equal for many nodes and exact."""
    rng = np.random.default_rng(0)
    nodes = (rng.integers(-2, 3, (6, 8)), rng.integers(-2, 3, (60, 8)))
    bounds = (np.array([0, 6]), np.array([0, 9, 10, 30, 31, 50, 60]))
    tree = SemanticHierarchy(tuple(level.astype(np.float32) for level in nodes), bounds)
    priors = [rng.integers(-2, 3, len(level)).astype(np.float32) for level in nodes]
    queries = rng.integers(-2, 3, (count, 8)).astype(np.float32)
    ours, our_similarities = descend(tree, priors, queries, beam, "numba")
    theirs, their_similarities = descend(tree, priors, queries, beam, "faiss")
    for level, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(level, other)
    np.testing.assert_array_equal(our_similarities, their_similarities)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_refining_breaks_ties_by_the_lowest_id(precision: Precision) -> None:
    rng = np.random.default_rng(0)
    store = VectorStore(rng.integers(-1, 2, (50, 4)).astype(precision))
    store.append(rng.integers(-1, 2, (30, 4)).astype(np.float32))
    rows = np.stack([rng.permutation(80)[:40] for _ in range(70)])
    rows[:, ::7] = -1
    queries, ids = rng.integers(-1, 2, (70, 4)).astype(np.float32), rng.permutation(80)
    for candidates in (rows, rows[0], np.array([-1])):
        for k in (3, 60):
            ours = store.refine(queries, candidates, ids, k, "numba")
            theirs = store.refine(queries, candidates, ids, k, "faiss")
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_backend_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="backend='torch': expected one of auto, faiss, numba"):
        ErsIndex(backend="torch")  # type: ignore[arg-type]
