"""The compiled search: its instructions against plain sums, a batch against its queries alone."""

import numba
import numpy as np
import pytest

from compiling.instructions import LANES
from retrieval import ErsIndex
from retrieval.ers.kernels.routing import in_bytes
from retrieval.ers.kernels.search import ROUTED
from retrieval.ers.kernels.simd import BLOCK, NODES, TABLE_MAX, rank_nodes, scan_block

pytestmark = pytest.mark.skipif(not LANES, reason="this processor has no table look-ups: faiss scans")
PERMUTED = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])


def unit(seed: int, rows: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@numba.njit
def scanned(codes: np.ndarray, tables: np.ndarray, least: int, out: np.ndarray) -> int:
    return scan_block(codes.ctypes.data, tables.ctypes.data, len(tables), np.uint16(least), out.ctypes.data)


@pytest.mark.parametrize("parts", [2, 4, 6, 10, 16, 34, 126, 128])
def test_block_sums_are_sums_of_table_entries(parts: int) -> None:
    rng = np.random.default_rng(parts)
    codes = rng.integers(0, 256, (parts, 16), dtype=np.uint8)
    tables = rng.integers(0, TABLE_MAX + 1, (parts, 16), dtype=np.uint8)
    exact = np.zeros(BLOCK, np.int64)
    for part in range(parts):
        exact[PERMUTED] += tables[part][codes[part] & 15]
        exact[PERMUTED + 16] += tables[part][codes[part] >> 4]
    least, out = int(np.median(exact)), np.zeros(BLOCK, np.uint16)
    mask = scanned(codes.ravel(), tables.ravel(), least, out)
    np.testing.assert_array_equal(out, exact)
    assert [bool(mask >> place & 1) for place in range(BLOCK)] == (exact >= least).tolist()


@pytest.mark.parametrize("beam", [1, 6, 40])
def test_a_batch_answers_as_its_queries_alone_do(beam: int) -> None:
    """Small whole numbers: many codes score the same, and leaves are visited in another order."""
    rng = np.random.default_rng(0)
    index = ErsIndex(beam=beam, refine=30)
    index.build(rng.choice(np.array([-1, 1], np.float32), (2000, 32)), np.arange(2000))
    queries = rng.integers(1, 4, (ROUTED + 70, 32)).astype(np.float32)
    together = index.search(queries, 10)
    for row in range(0, len(queries), 7):
        alone = index.search(queries[row : row + 1], 10)
        np.testing.assert_array_equal(alone[0][0], together[0][row])
        np.testing.assert_array_equal(alone[1][0], together[1][row])


def test_moved_codes_are_found() -> None:
    vectors, queries = unit(0, 1500, 32), unit(1, 20, 32)
    index = ErsIndex(beam=10**4, refine=100)
    index.build(vectors[:1400], np.arange(1400))
    index.search(queries, 10)
    index.add(vectors[1400:], np.arange(1400, 1500))
    assert index.search(vectors[1400:], 1)[0][:, 0].tolist() == list(range(1400, 1500))
    index.remove(np.arange(1450))
    found, _ = index.search(queries, 50, refine=50)
    assert all(sorted(row) == list(range(1450, 1500)) for row in found)
    found, _ = index.search(queries, 40, refine=45)  # fewer than there are, so codes are scanned
    assert (found >= 1450).all()


@numba.njit
def ranked(query, nodes, starts, unit, prior, out) -> None:  # type: ignore[no-untyped-def]
    for block in range(len(nodes)):
        rank_nodes(
            query.ctypes.data,
            nodes[block].ctypes.data,
            len(query),
            starts[block].ctypes.data,
            np.float32(unit),
            prior[block].ctypes.data,
            out[block].ctypes.data,
        )


@pytest.mark.parametrize("width", [1, 16, 100, 256])
def test_ranks_of_nodes_are_products_with_bytes(width: int) -> None:
    """Three families of 1, 9 and 8 children; blocks hold one family each, and gaps count for nothing."""
    centroids, children = unit(width, 18, width), np.array([1, 2, 11, 19])
    nodes, starts, blocks, _, step = in_bytes(centroids, children)
    assert blocks.tolist() == [0, 1, 3, 4]
    padded = nodes.shape[1] * 4
    rng = np.random.default_rng(0)
    query = rng.integers(0, 256, padded).astype(np.uint8)
    prior = rng.integers(-9, 9, (4, NODES)).astype(np.float32)
    out = np.empty((4, NODES), np.float32)
    ranked(query, nodes, starts, 0.5, prior, out)
    numbers = nodes.transpose(0, 2, 1, 3).reshape(4, NODES, padded).astype(np.int64)
    whole = numbers @ (query.astype(np.int64) - 128)
    np.testing.assert_array_equal(out, whole.astype(np.float32) * np.float32(0.5) + prior)
    rows = numbers.reshape(4 * NODES, padded)[[0, *range(8, 17), *range(24, 32)], :width]
    np.testing.assert_allclose(rows * step, centroids - centroids.mean(0), atol=0.51 * step)
