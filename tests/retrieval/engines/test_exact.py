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
