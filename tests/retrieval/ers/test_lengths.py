"""Vectors of any length: inner product, cosine, and what an index says of both."""

from __future__ import annotations

import copy
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval import ErsIndex, FlatIndex, KnownPairs, MemoryIndex, make_index
from retrieval.ers.backend import Backend
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.lengths import by_reach, differ, unit

KINDS = np.random.default_rng(0).normal(size=(400, 64))


def drawn(seed: int, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(unit(KINDS)[rng.integers(0, 400, rows)] + 0.12 * rng.normal(size=(rows, 64)))


def of_lengths(seed: int, rows: int, low: float, high: float) -> np.ndarray:
    lengths = np.random.default_rng(seed).uniform(low, high, (rows, 1))
    return (drawn(seed, rows) * lengths).astype(np.float32)


def recall(index: ErsIndex, vectors: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    flat = FlatIndex()
    flat.build(vectors, np.arange(len(vectors)))
    exact, scores = flat.search(queries, k)
    found, own = index.search(queries, k)
    hits = found == exact
    np.testing.assert_allclose(own[hits], scores[hits], rtol=1e-4)
    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))


@pytest.mark.parametrize("backend", ["numba", "faiss"])
def test_inner_products_are_found_where_lengths_differ(backend: Backend) -> None:
    vectors, queries = of_lengths(1, 5000, 0.1, 10), drawn(2, 300)
    same, other = ErsIndex(backend=backend), ErsIndex(backend=backend)
    same.build(unit(vectors), np.arange(5000))
    other.build(vectors, np.arange(5000))
    assert recall(other, vectors, queries) > recall(same, unit(vectors), queries) - 0.02
    assert recall(other, vectors, 7 * queries) > 0.9  # a query's own length changes no order
    tuned = ErsIndex(recall=0.98, backend=backend)
    tuned.build(vectors, np.arange(5000))
    assert recall(tuned, vectors, queries) > 0.95


def test_longer_vectors_that_come_later_are_found(tmp_path: Path) -> None:
    vectors, queries = drawn(1, 6000), drawn(2, 200)
    vectors[3000:] *= np.random.default_rng(3).uniform(0.2, 8, (3000, 1)).astype(np.float32)
    for step in (40, 3000):
        index = ErsIndex()
        index.build(vectors[:3000], np.arange(3000))
        for at in range(3000, 6000, step):
            index.add(vectors[at : at + step], np.arange(at, at + step))
        fresh = ErsIndex()
        fresh.build(vectors, np.arange(6000))
        assert recall(index, vectors, queries) > recall(fresh, vectors, queries) - 0.015 > 0.8
    where = index.search(queries, 5, where={})[0]
    index.save(tmp_path / "index")
    again = ErsIndex.load(tmp_path / "index")
    np.testing.assert_array_equal(again.search(queries, 5)[0], where)


def test_cosine_brings_vectors_and_queries_to_unit_length(tmp_path: Path) -> None:
    vectors, queries = of_lengths(1, 4000, 0.1, 10), of_lengths(2, 100, 0.01, 100)
    index, plain = ErsIndex(metric="cosine"), ErsIndex()
    index.build(vectors[:3000], np.arange(3000))
    index.add(vectors[3000:], np.arange(3000, 4000))
    index.update(vectors[:50], np.arange(50))
    plain.build(unit(vectors[:3000]), np.arange(3000))
    plain.add(unit(vectors[3000:]), np.arange(3000, 4000))
    plain.update(unit(vectors[:50]), np.arange(50))
    expected = plain.search(unit(queries), 10)
    np.testing.assert_array_equal(index.search(queries, 10), expected)
    assert expected[1].max() <= 1 + 1e-5
    np.testing.assert_allclose(np.linalg.norm(index.get(np.arange(9))[0], axis=1), 1, atol=1e-6)
    index.learn()
    index.feedback(queries[0], 3)
    index.tune(0.9, queries)
    index.save(tmp_path / "index")
    again = ErsIndex.load(tmp_path / "index")
    assert again.metric == "cosine"
    np.testing.assert_array_equal(again.search(queries, 10), index.search(queries, 10))
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = ErsIndex(metric="cosine")
    mapped.build(np.load(tmp_path / "vectors.npy", mmap_mode="r"), np.arange(4000))
    assert mapped.search(queries, 1)[1].max() <= 1 + 1e-5
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), vectors)


def test_a_metric_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="metric='l2': expected one of ip, cosine"):
        ErsIndex(metric="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="metric='cosine' around a memory: expected 'ip'"):
        MemoryIndex(ErsIndex(metric="cosine"), KnownPairs(drawn(1, 9), drawn(2, 9)))


def test_leaves_are_ranked_by_how_far_they_reach() -> None:
    tree = SemanticHierarchy.train(drawn(1, 500), 30)
    reach = np.random.default_rng(2).uniform(0.5, 4, 30).astype(np.float32)
    scaled, lengths = by_reach(tree, reach)
    np.testing.assert_allclose(lengths, reach / reach.max(), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(scaled.centroids[1], axis=1), lengths, rtol=1e-4)
    above = np.linalg.norm(scaled.centroids[0], axis=1)
    for leaf, parent in enumerate(tree.parents(1)):
        assert above[parent] >= lengths[leaf] - 1e-4
    assert differ(reach)
    assert not differ(np.array([1, 1.1, 0], np.float32))
    assert not differ(np.zeros(3, np.float32))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_an_index_is_one_of_its_own(copied, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    index = ErsIndex(beam=5, metric="cosine", codec="sq8")
    assert len(copied(index)) == 0
    index.build(of_lengths(1, 900, 1, 3), np.arange(900), {"kind": ["a", "b", "c"] * 300})
    index.remove(np.arange(30))
    index.learn()
    index.feedback(drawn(1, 1)[0], 40)
    index.save(tmp_path / "index")
    for one in (index, ErsIndex.load(tmp_path / "index")):
        other = copied(one)
        assert repr(other) == repr(one)
        for where in ({}, {"kind": "b"}):
            np.testing.assert_array_equal(
                other.search(drawn(2, 20), 5, where=where), one.search(drawn(2, 20), 5, where=where)
            )
        other.remove(np.arange(30, 60))
        assert (len(other), len(one)) == (840, 870)
    memory = MemoryIndex(ErsIndex(), KnownPairs(drawn(3, 20), drawn(4, 20)))
    memory.build(drawn(5, 300), np.arange(300))
    other = copied(memory)
    np.testing.assert_array_equal(other.search(drawn(2, 20), 5), memory.search(drawn(2, 20), 5))
    other.feedback(drawn(2, 1)[0], 7)
    assert (len(other.memory), len(memory.memory)) == (21, 20)
    for name in ("flat", "ivf", "ivfpq", "hnsw"):
        engine = make_index(name)
        engine.build(drawn(1, 400), np.arange(400))
        np.testing.assert_array_equal(copied(engine).search(drawn(2, 9), 3), engine.search(drawn(2, 9), 3))
    with pytest.raises(TypeError, match="usearch cannot be copied or pickled"):
        copied(pytest.importorskip("usearch") and make_index("usearch"))


FULL = """
import resource, signal, sys
import numpy as np
from retrieval import ErsIndex, KnownPairs, MemoryIndex
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
def made(n):
    index = ErsIndex()
    if sys.argv[2] == "memory":
        index = MemoryIndex(index, KnownPairs(x[:20], x[:20]))
    index.build(x[:n], np.arange(n))
    return index
made(100).save(sys.argv[1])
larger = made(3000)
for limit in (1000, 20_000, 60_000, 120_000, 500_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        larger.save(sys.argv[1])
        print("saved")
    except ValueError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(type(larger).load(sys.argv[1])))
"""


@pytest.mark.parametrize("kind", ["ers", "memory"])
def test_a_disk_that_is_full_is_told_in_a_line_and_leaves_the_old_index(tmp_path: Path, kind: str) -> None:
    """A limit on the size of files stands for the disk: writing fails amid a file in the same way."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "index"), kind],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    *told, count = run.stdout.splitlines()
    assert len(told) == 5
    assert all("cannot save the index (" in line for line in told)
    assert all(line.endswith("the index that it held is as it was") for line in told)
    assert count == "100"
    assert len(list((tmp_path / "index").glob("data-*"))) == 1
    assert not list((tmp_path / "index").glob("*.new"))
