"""Beam and candidates tuned for a recall: what fresh queries find, and what a mistake looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval import ErsIndex, FlatIndex

COUNT, WIDTH = 4000, 32


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def isotropic(rows: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, WIDTH)))


def clustered(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(40, WIDTH))
    return unit(centers[rng.integers(0, 40, rows)] + 0.6 * rng.normal(size=(rows, WIDTH)))


def recall_of(index: ErsIndex, vectors: np.ndarray, queries: np.ndarray) -> float:
    exact = FlatIndex()
    exact.build(vectors, np.arange(len(vectors)))
    found, right = index.search(queries, 10)[0], exact.search(queries, 10)[0]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(right, found, strict=True)]))


@pytest.mark.parametrize("make", [isotropic, clustered])
@pytest.mark.parametrize("recall", [0.8, 0.95])
def test_fresh_queries_find_what_was_asked_for(make, recall: float) -> None:
    vectors, queries = make(COUNT, 1), make(1000, 2)
    index = ErsIndex(recall=recall)
    index.build(vectors, np.arange(COUNT))
    assert recall - 0.01 <= recall_of(index, vectors, queries) < recall + 0.1
    again = ErsIndex(recall=recall)
    again.build(vectors, np.arange(COUNT))
    assert (again.beam, again.refine) == (index.beam, index.refine)


def test_queries_of_ones_own_decide_where_they_are_given() -> None:
    """They lie between the clusters, where more leaves have to be looked at."""
    vectors, queries = clustered(COUNT, 1), isotropic(1000, 2)
    index = ErsIndex()
    index.build(vectors, np.arange(COUNT))
    index.tune(0.9)
    assert recall_of(index, vectors, queries) < 0.8
    index.tune(0.9, queries[:500])
    assert recall_of(index, vectors, queries[500:]) >= 0.88


def test_a_saved_index_tunes_itself_when_it_is_built_again(tmp_path: Path) -> None:
    index = ErsIndex(recall=0.9)
    index.build(isotropic(600, 0), np.arange(600))
    index.save(tmp_path)
    loaded = ErsIndex.load(tmp_path)
    assert (loaded.beam, loaded.refine) == (index.beam, index.refine)
    loaded.build(clustered(600, 0), np.arange(600))
    assert loaded.beam < index.beam


@pytest.mark.parametrize("count", [1, 2, 11, 40])
def test_small_indexes_and_copies_are_tuned(count: int) -> None:
    index = ErsIndex(recall=0.9)
    vectors = isotropic(count, 0)
    vectors[count // 2 :] = vectors[0]
    index.build(vectors, np.arange(count))
    assert recall_of(index, vectors, vectors[:1]) > 0 if count >= 10 else index.search(vectors, 1)


@pytest.mark.parametrize("recall", [0, 1, 1.0, -0.5, 95, "x", float("nan"), True])
def test_a_recall_that_is_none_is_named(recall) -> None:
    with pytest.raises(ValueError, match=f"recall={recall!r}: expected a number"):
        ErsIndex(recall=recall)
    index = ErsIndex()
    index.build(isotropic(50, 0), np.arange(50))
    with pytest.raises(ValueError, match=f"recall={recall!r}: expected a number"):
        index.tune(recall)


def test_there_has_to_be_something_to_tune() -> None:
    with pytest.raises(ValueError, match="tune on an empty index"):
        ErsIndex().tune(0.9)
    index = ErsIndex()
    index.build(isotropic(50, 0), np.arange(50))
    with pytest.raises(ValueError, match="queries: expected at least one"):
        index.tune(0.9, np.empty((0, WIDTH), np.float32))
