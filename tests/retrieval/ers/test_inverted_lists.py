import faiss
import numpy as np
import pytest

from retrieval.ers.beam_search import nearest_leaves
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.inverted_lists import CODECS, Codec, Leaves
from retrieval.ers.vectors import PRECISIONS, VectorStore


def unit(seed: int, rows: int, width: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def filled(codec: Codec, vectors: np.ndarray) -> tuple[SemanticHierarchy, Leaves]:
    tree = SemanticHierarchy.train(vectors, 10)
    leaves = Leaves.train(tree.centroids[-1], vectors, codec)
    leaves.fill(vectors, np.arange(len(vectors)), nearest_leaves(tree, vectors))
    leaves.seal()
    return tree, leaves


def everywhere(tree: SemanticHierarchy, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    every = np.tile(np.arange(tree.leaf_count), (len(queries), 1))
    return every, queries @ tree.centroids[-1].T


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("width", [15, 32])
def test_codes_rank_nearly_as_the_vectors_do(codec: Codec, width: int) -> None:
    vectors, queries = unit(0, 1000, width), unit(1, 20, width)
    tree, leaves = filled(codec, vectors)
    # Added in two ways: the first filling and later.
    leaves.append(queries, np.arange(1000, 1020), nearest_leaves(tree, queries))
    rows = leaves.scan(queries, *everywhere(tree, queries), 1020)
    for query in range(20):
        assert sorted(rows[query]) == list(range(1020))
    assert (rows[:, 0] == np.arange(1000, 1020)).all()
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert np.mean([np.isin(best[q], rows[q, :50]).mean() for q in range(20)]) > 0.95


@pytest.mark.parametrize("codec", CODECS)
def test_filter_and_discarded_rows_never_show(codec: Codec) -> None:
    vectors, queries = unit(0, 1000, 32), unit(1, 20, 32)
    tree, leaves = filled(codec, vectors)
    allowed = np.arange(1000) % 7 == 0
    bits = np.packbits(allowed, bitorder="little")
    rows = leaves.scan(queries, *everywhere(tree, queries), 200, bits)
    assert ((rows >= 0).sum(1) == allowed.sum()).all()
    assert allowed[rows[rows >= 0]].all()
    assert leaves.discard(np.arange(500)) == 500
    rows = leaves.scan(queries, *everywhere(tree, queries), 1000)
    assert sorted(rows[0][rows[0] >= 0]) == list(range(500, 1000))
    assert leaves.sizes().sum() == 500


def test_only_the_named_leaves_are_scanned() -> None:
    vectors = unit(0, 500, 16)
    tree, leaves = filled("sq8", vectors)
    home = nearest_leaves(tree, vectors)
    rows = leaves.scan(vectors[:1], np.array([[3, -1]]), np.ones((1, 2)), 500)[0]
    assert sorted(rows[rows >= 0]) == np.flatnonzero(home == 3).tolist()


def test_unknown_codec_is_named() -> None:
    with pytest.raises(ValueError, match="codec='zip'"):
        Leaves.train(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), "zip")  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_refining_is_the_product_sorted_by_score_then_id(precision: str) -> None:
    vectors, queries = unit(0, 60, 33), unit(1, 5, 33)
    vectors[40] = vectors[7]  # a tie, over the seam between base and tail
    store = VectorStore(vectors[:30].astype(precision))
    store.append(vectors[30:50])
    store.append(vectors[50:])
    ids = np.random.default_rng(2).permutation(1000)[:60]
    rows = np.tile(np.append(np.arange(60), -1), (5, 1))
    found, scores = store.refine(queries, rows, ids, 70)
    stored = vectors.astype(precision).astype(np.float64)
    exact = queries @ stored.T
    exact[:, 40] = exact[:, 7]
    for query in range(5):
        order = np.lexsort((ids, -exact[query]))
        assert found[query, :60].tolist() == ids[order].tolist()
        assert (found[query, 60:] == -1).all()
        np.testing.assert_allclose(scores[query, :60], exact[query][order], atol=1e-6)
    np.testing.assert_array_equal(store.read(np.array([55, 3])), stored[[55, 3]].astype(np.float32))


def unpacked(leaves: Leaves) -> dict[int, tuple[int, bytes]]:
    """The leaf and the code of each row."""
    lists, packer = leaves.index.invlists, leaves.index.get_CodePacker()
    found = {}
    for leaf, size in enumerate(leaves.sizes().tolist()):
        if size:
            rows = faiss.rev_swig_ptr(lists.get_ids(leaf), size)
            blocks = faiss.rev_swig_ptr(lists.get_codes(leaf), -(-size // 32) * packer.block_size)
            for place, row in enumerate(rows.tolist()):
                found[row] = (leaf, packer.unpack_1(blocks.reshape(-1, packer.block_size), place).tobytes())
    return found


@pytest.mark.parametrize("leaf_count", [1, 20])
def test_codes_are_right_after_any_number_of_removals(leaf_count: int) -> None:
    vectors = unit(0, 2000, 16)
    tree = SemanticHierarchy.train(vectors, leaf_count)
    changed = Leaves.train(tree.centroids[-1], vectors, "pq")
    fresh = Leaves(faiss.clone_index(changed.index), "pq")
    changed.seal()
    rng = np.random.default_rng(1)
    for start in range(0, 2000, 100):
        rows = np.arange(start, start + 100)
        changed.append(vectors[rows], rows, nearest_leaves(tree, vectors[rows]))
        living = np.array(sorted(unpacked(changed)))
        changed.discard(rng.choice(living, len(living) // 3, replace=False))
    rows = np.array(sorted(unpacked(changed)))
    home = np.array([unpacked(changed)[row][0] for row in rows])
    fresh.fill(vectors[rows], rows, home)
    fresh.seal()
    assert unpacked(fresh) == unpacked(changed)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("copies", [1, 1000])
def test_codes_learnt_from_one_vector_still_tell_others_apart(codec: Codec, copies: int) -> None:
    tree = SemanticHierarchy.train(unit(0, 1, 16), 1)
    leaves = Leaves.train(tree.centroids[-1], np.repeat(unit(0, 1, 16), copies, axis=0), codec)
    leaves.seal()
    vectors = unit(1, 500, 16)
    leaves.append(vectors, np.arange(500), nearest_leaves(tree, vectors))
    found = leaves.scan(vectors, *everywhere(tree, vectors), 20)
    assert np.mean([row in found[row] for row in range(500)]) > 0.95


@pytest.mark.parametrize("codec", CODECS)
def test_a_query_along_columns_that_no_vector_uses_still_finds_some(codec: Codec) -> None:
    vectors, queries = unit(0, 1000, 16), unit(1, 10, 16)
    vectors[:, 8:], queries[:, :8] = 0, 0
    tree, leaves = filled(codec, vectors)
    assert (leaves.scan(queries, *everywhere(tree, queries), 30) >= 0).all()
