"""Equal vectors in any number: whoever holds ``k`` vectors answers with ``k``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import ENGINES, Between, ErsIndex, KnownPairs, MemoryIndex, MissingEngineError, make_index
from retrieval.ers.hierarchy import SemanticHierarchy, distinct


def unit(seed: int, rows: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def mixture(sizes: list[int], alone: int, width: int, seed: int, noise: float) -> np.ndarray:
    """Groups of (nearly) equal vectors of these sizes among others, in any order."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(unit(seed, len(sizes), width), sizes, axis=0)
    groups += noise * rng.normal(size=groups.shape).astype(np.float32)
    return rng.permutation(np.concatenate([groups, unit(seed + 1, alone, width)]))


mixtures = st.builds(
    mixture,
    sizes=st.lists(st.sampled_from([1, 3, 40, 150, 700, 1500]), min_size=1, max_size=4),
    alone=st.sampled_from([0, 1, 30, 600]),
    width=st.sampled_from([2, 3, 8, 33]),
    seed=st.integers(0, 99),
    noise=st.sampled_from([0, 0, 1e-7, 1e-4]),
)


def check(vectors: np.ndarray, queries: np.ndarray, ids: np.ndarray, scores: np.ndarray, k: int) -> None:
    """``k`` different ids with the scores of their vectors, best first."""
    assert ids.shape == (len(queries), k)
    for query, found, own in zip(queries, ids, scores, strict=True):
        assert (found >= 0).all()
        assert len(set(found.tolist())) == k
        np.testing.assert_allclose(own, vectors[found] @ query, atol=1e-5)
        assert (np.diff(own) <= 1e-6).all()


@settings(max_examples=25, deadline=None)
@given(
    vectors=mixtures,
    codec=st.sampled_from(["pq", "sq8"]),
    precision=st.sampled_from(["float32", "float16"]),
    backend=st.sampled_from(["numba", "faiss"]),
    beam=st.sampled_from([1, 4, 16, 1000]),
    refine=st.sampled_from([1, 20, 100, 5000]),
    k=st.sampled_from([1, 10, 60, 2000]),
    depth=st.integers(1, 3),
    later=st.sampled_from([0, 0.3, 0.9]),
)
def test_an_index_full_of_copies_finds_as_many_as_are_asked_for(
    vectors: np.ndarray, k: int, later: float, **options: Any
) -> None:
    index = ErsIndex(**options)
    first = max(1, round(len(vectors) * (1 - later)))
    kind = np.arange(len(vectors)) % 3
    index.build(vectors[:first], np.arange(first), {"kind": kind[:first]})
    index.add(vectors[first:], np.arange(first, len(vectors)), {"kind": kind[first:]})
    queries = np.concatenate([vectors[[0, -1]], vectors[:1] + 0.05 * unit(3, 1, vectors.shape[1])])
    stored = index.get(np.arange(len(vectors)))[0]
    k = min(k, len(vectors))
    check(stored, queries, *index.search(queries, k), k)
    check(stored, queries[1:2], *index.search(queries[1:2], k), k)
    for where in ({"kind": 1}, {"kind": Between(0, 1)}):
        matching = np.isin(kind, [1] if where["kind"] == 1 else [0, 1])
        ids, scores = index.search(queries, k, where=where)  # type: ignore[arg-type]
        there = min(k, int(matching.sum()))
        assert matching[ids[:, :there]].all()
        check(stored, queries, ids[:, :there], scores[:, :there], there)
        assert (ids[:, there:] == -1).all()
    index.remove(np.arange(0, len(vectors), 2))
    k = min(k, len(index))
    if k:
        check(stored, queries, *index.search(queries, k), k)


@settings(max_examples=15, deadline=None)
@given(vectors=mixtures, k=st.sampled_from([1, 10, 60]), beam=st.sampled_from([1, 16]))
def test_a_memory_changes_nothing_about_that(vectors: np.ndarray, k: int, beam: int) -> None:
    width = vectors.shape[1]
    index = MemoryIndex(ErsIndex(beam=beam), KnownPairs(unit(5, 40, width), unit(6, 40, width)))
    index.build(vectors, np.arange(len(vectors)))
    ids, scores = index.search(vectors[:3], min(k, len(vectors)))
    assert (ids >= 0).all()
    assert np.isfinite(scores).all()
    assert all(len(set(found.tolist())) == len(found) for found in ids)


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "ers"])
@pytest.mark.parametrize("copies", [300, 3000])
@pytest.mark.parametrize("alone", [0, 200])
def test_so_does_every_other_engine(name: str, copies: int, alone: int) -> None:
    try:
        index = make_index(name)
    except MissingEngineError as error:
        pytest.skip(str(error))
    vectors = np.concatenate([np.repeat(unit(0, 1, 16), copies, axis=0), unit(1, alone, 16)])
    index.build(vectors, np.arange(len(vectors)))
    for queries in (vectors[:1], vectors[[0, -1]]):
        ids, scores = index.search(queries, 10)
        assert (ids >= 0).all()
        assert all(len(set(found.tolist())) == 10 for found in ids)
        assert np.isfinite(scores).all()
        if not alone:  # else an approximate engine may lose the way to some
            np.testing.assert_allclose(scores, 1, atol=0.02)


def test_equal_scores_are_answered_by_the_lowest_ids() -> None:
    """All copies are candidates, or those that were added first are."""
    vectors = np.concatenate([np.repeat(unit(0, 1, 16), 400, axis=0), unit(1, 1000, 16)])
    index = ErsIndex(refine=400)
    index.build(vectors, np.arange(1400)[::-1])
    assert index.search(vectors[:1], 10)[0].tolist() == [list(range(1000, 1010))]
    index = ErsIndex()
    index.build(vectors, np.arange(1400))
    assert index.search(vectors[:1], 10)[0].tolist() == [list(range(10))]


def test_copies_count_once_in_the_tree() -> None:
    few = unit(0, 20, 8)
    tree = SemanticHierarchy.train(np.repeat(few, 50, axis=0), 60)
    assert tree.leaf_count == 20
    np.testing.assert_allclose(np.sort((few @ tree.centroids[-1].T).max(1)), 1, atol=1e-5)
    np.testing.assert_array_equal(
        distinct(np.concatenate([few[3:], few, few])), few[[*range(3, 20), 0, 1, 2]]
    )
    assert len(distinct(np.array([[0.0, 1.0], [-0.0, 1.0]], np.float32))) == 1
