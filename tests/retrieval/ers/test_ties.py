"""Ties are broken by the lowest id, also among more copies than there are candidates."""

from typing import Any

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.ers.backend import Backend
from retrieval.ers.inverted_lists import CODECS, Codec

WIDTH, COPIES = 16, 300


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def shuffled(
    codec: Codec, backend: Backend = "auto", **settings: Any
) -> tuple[ErsIndex, np.ndarray, np.ndarray]:
    """An index of five vectors that stand there `COPIES` times among others, under ids in no order."""
    copied = unit(5, 5)
    vectors = np.concatenate([unit(0, 2000), np.repeat(copied, COPIES, axis=0)])
    order = np.random.default_rng(1).permutation(len(vectors))
    ids = np.random.default_rng(2).permutation(len(vectors))
    index = ErsIndex(codec=codec, backend=backend, refine=30, **settings)
    index.build(vectors[order], ids, {"even": (ids % 2 == 0).tolist()})
    return (
        index,
        copied,
        np.stack([np.sort(ids[np.isin(order, 2000 + COPIES * n + np.arange(COPIES))]) for n in range(5)]),
    )


@pytest.mark.parametrize("k", [1, 2, 10, 40])
@pytest.mark.parametrize(
    ("codec", "backend"), [("pq", "auto"), ("pq", "faiss"), ("sq8", "auto"), ("sq8", "faiss")]
)
def test_the_lowest_ids_of_many_copies_are_found(codec: Codec, backend: Backend, k: int) -> None:
    index, copied, ids = shuffled(codec, backend)
    for part in (slice(0, 5), slice(2, 3)):
        np.testing.assert_array_equal(index.search(copied[part], k)[0], ids[part, :k])
    even = np.stack([own[own % 2 == 0][:k] for own in ids])
    np.testing.assert_array_equal(index.search(copied, k, where={"even": 1})[0], even)
    few = index.search(copied, k, where={"even": 1}, beam=1, refine=k)[0]
    np.testing.assert_array_equal(few, even)


@pytest.mark.parametrize("codec", CODECS)
def test_they_are_found_after_changes_in_any_order(codec: Codec) -> None:
    index, copied, ids = shuffled(codec, maintain=False)
    gone = np.concatenate([own[:40] for own in ids])
    index.remove(np.random.default_rng(3).permutation(gone))
    index.add(
        np.repeat(copied, 20, axis=0), np.random.default_rng(4).permutation(gone)[:100], {"even": [0] * 100}
    )
    vectors, _ = index.get(index.ids)
    for query in copied:
        same = np.flatnonzero((vectors == query).all(axis=1))
        for k in (1, 7, 25):
            np.testing.assert_array_equal(index.search(query[None], k)[0][0], index.ids[same][:k])


def test_a_copy_at_the_last_place_is_the_lowest() -> None:
    """Nine others are nearer, so that a single place is left for the copies."""
    index, copied, ids = shuffled("pq", maintain=False)
    query = copied[:1]
    nearer = query * np.float32(1.01) + np.float32(1e-4) * unit(6, 9)
    index.add(nearer, 10**6 + np.arange(9), {"even": [1] * 9})
    assert index.search(query, 10)[0][0, 9] == ids[0, 0]
