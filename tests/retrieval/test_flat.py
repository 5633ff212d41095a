import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from retrieval import FlatIndex, Retriever


def unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    x = rng.normal(size=(rows, width)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(("rows", "width", "k"), [(1, 4, 1), (200, 16, 10), (1000, 64, 50)])
def test_finds_what_an_exhaustive_search_finds(rows: int, width: int, k: int) -> None:
    rng = np.random.default_rng(rows)
    vectors, queries = unit(rng, rows, width), unit(rng, 20, width)
    ids = rng.permutation(10 * rows)[:rows].astype(np.int64)
    index: Retriever = FlatIndex()
    index.build(vectors, ids)
    found, scores = index.search(queries, k)
    exact = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(vectors)
    distance, rows_found = exact.kneighbors(queries)
    np.testing.assert_array_equal(found, ids[rows_found])
    np.testing.assert_allclose(scores, 1 - distance, atol=1e-5)


def test_asking_for_more_than_there_is_pads() -> None:
    index = FlatIndex()
    index.build(np.eye(3, dtype=np.float32), np.arange(3))
    ids, scores = index.search(np.eye(3, dtype=np.float32)[:1], 5)
    assert ids[0, 0] == 0
    assert ids[0, 3:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 3:]).all()


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (np.ones(3), [0], "expected \\[N, D\\]"),
        (np.ones((2, 3)), [0], "one id a vector"),
        (np.ones((2, 3)), [0, 0], "distinct"),
        (np.ones((2, 3)), [-1, 0], "0 or more"),
        ([[1.0, 2.0], [np.inf, 0.0]], [0, 1], "vectors\\[1\\]"),
    ],
)
def test_bad_input_is_named(vectors: object, ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlatIndex().build(np.asarray(vectors), np.asarray(ids))


def test_bad_queries_are_named() -> None:
    index = FlatIndex()
    with pytest.raises(ValueError, match="build"):
        index.search(np.ones((1, 3), np.float32), 1)
    index.build(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(ValueError, match="width 2"):
        index.search(np.ones((1, 2), np.float32), 1)
    with pytest.raises(ValueError, match="k=0"):
        index.search(np.ones((1, 3), np.float32), 0)
