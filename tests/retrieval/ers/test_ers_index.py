from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import ErsIndex, FlatIndex, Retriever
from retrieval.ers.inverted_lists import CODECS, Codec


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@given(
    st.integers(1, 150), st.integers(1, 40), st.integers(1, 9), st.sampled_from(CODECS), st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_looking_everywhere_is_exact_search(rows: int, k: int, width: int, codec: Codec, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: products are exact and ties are many.
    vectors = rng.integers(-2, 3, size=(rows, width)).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    queries = rng.integers(1, 4, size=(5, width)).astype(np.float32)
    ids = rng.permutation(1000)[:rows]
    index: Retriever = ErsIndex(beam=10**6, refine=rows, codec=codec)
    index.build(vectors, ids)
    k = min(k, rows)
    found, scores = index.search(queries, k)
    exact = queries @ vectors.T
    for query in range(5):
        order = np.lexsort((ids, -exact[query]))[:k]
        assert found[query].tolist() == ids[order].tolist()
        assert scores[query].tolist() == exact[query][order].tolist()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_codes_of_every_leaf_hold_the_nearest(codec: Codec, precision: str) -> None:
    vectors, queries = unit(0, 3000), unit(1, 100)
    index = ErsIndex(beam=1000, refine=200, codec=codec, precision=precision)  # type: ignore[arg-type]
    index.build(vectors, np.arange(3000))
    flat = FlatIndex()
    flat.build(vectors, np.arange(3000))
    found, exact = index.search(queries, 10)[0], flat.search(queries, 10)[0]
    assert np.mean([np.isin(exact[q], found[q]).mean() for q in range(100)]) > 0.985


def test_memory_mapped_vectors_give_the_same_index(tmp_path) -> None:
    vectors = unit(0, 2000)
    np.save(tmp_path / "v.npy", vectors)
    answers = []
    for source in (vectors, np.load(tmp_path / "v.npy", mmap_mode="r")):
        index = ErsIndex(beam=4)
        index.build(source, np.arange(2000))
        answers.append(index.search(vectors[:50], 5))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (np.ones((2, 16)), [0, 0], "distinct"),
        (np.ones((2, 16)), [0], "one id a vector"),
        (np.ones((2, 16)), [0.5, 1.5], "whole numbers"),
        (np.zeros((1, 16)), [0], "row 0 is zero"),
        (np.full((1, 16), np.nan), [0], "not finite"),
        (np.ones((0, 16)), [], "at least one vector"),
    ],
)
def test_a_refused_build_leaves_the_index_as_it_was(vectors: np.ndarray, ids: list, message: str) -> None:
    index = ErsIndex()
    index.build(unit(0, 50), np.arange(50))
    before = index.search(unit(1, 3), 5)
    with pytest.raises(ValueError, match=message):
        index.build(vectors, np.asarray(ids))
    np.testing.assert_array_equal(index.search(unit(1, 3), 5), before)


def test_bad_queries_and_settings_are_named() -> None:
    index = ErsIndex()
    with pytest.raises(ValueError, match="empty index"):
        index.search(unit(0, 1), 1)
    index.build(unit(0, 50), np.arange(50))
    for queries, k, message in [
        (unit(0, 1, 8), 1, "width 8"),
        (np.zeros((1, 16)), 1, "row 0 is zero"),
        (np.full((1, 16), np.inf), 1, "not finite"),
        (unit(0, 1), 0, "k=0"),
        (unit(0, 1), 51, "k=51: the index holds 50"),
    ]:
        with pytest.raises(ValueError, match=message):
            index.search(queries, k)
    with pytest.raises(ValueError, match="beam=0"):
        ErsIndex(beam=0)
    with pytest.raises(ValueError, match="precision='int4'"):
        ErsIndex(precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["beam", "refine", "leaves", "depth", "seed"])
@pytest.mark.parametrize("value", [1.5, True, "x", -1, 2**40, np.array([1, 2])])
def test_a_setting_that_is_no_whole_number_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}=.*: expected"):
        ErsIndex(**{name: value})


@pytest.mark.parametrize("name", ["success_weight", "exploration"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1e30, "x", None, True])
def test_a_weight_that_gives_no_order_is_refused_whenever_it_is_set(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}=.*: expected a number from 0 to 1e"):
        ErsIndex(**{name: value})
    index = ErsIndex()
    with pytest.raises(ValueError, match=f"{name}="):
        setattr(index, name, value)
    assert getattr(index, name) == getattr(ErsIndex(), name)


def test_the_largest_weights_are_searched_with() -> None:
    index = ErsIndex(beam=2, refine=5, success_weight=1e15, exploration=1e15, half_life=1)
    index.build(unit(0, 2000), np.arange(2000))
    index.learn()
    for row in range(50):
        index.feedback(unit(1, 50)[row], row)
    assert (index.search(unit(1, 100), 5)[0] >= 0).all()


@pytest.mark.parametrize("value", [0, 0.5, -1, np.nan, "x"])
def test_a_half_life_below_one_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"half_life=.*: expected a number from 1"):
        ErsIndex(half_life=value)


@pytest.mark.parametrize("name", ["beam", "refine", "rerank"])
@pytest.mark.parametrize("value", [0, 2.5, True, "x", 2**40])
def test_a_search_with_a_number_that_is_none_is_named(name: str, value: Any) -> None:
    index = ErsIndex()
    index.build(unit(0, 300), np.arange(300))
    with pytest.raises(ValueError, match=rf"{name}=.*: expected"):
        index.search(unit(1, 1), 3, **{name: value})
    if name != "rerank":
        with pytest.raises(ValueError, match=rf"{name}=.*: expected"):
            setattr(index, name, value)
    found = index.search(unit(1, 2), 3, beam=np.int64(4), refine=np.int32(9))[0]
    np.testing.assert_array_equal(found, index.search(unit(1, 2), 3, beam=4, refine=9)[0])


def test_a_reranker_sees_no_more_candidates_than_there_are() -> None:
    index = ErsIndex()
    index.build(unit(0, 300), np.arange(300))
    found, _ = index.search(unit(1, 2), 3, reranker=lambda rows, ids: ids.astype(float), rerank=2**31 - 1)
    assert found.tolist() == [[299, 298, 297]] * 2


@pytest.mark.parametrize("id", [2.0, "x", None, -1, 2**70])
def test_feedback_for_what_is_no_id_is_named(id: Any) -> None:
    index = ErsIndex()
    index.build(unit(0, 300), np.arange(300))
    index.learn()
    with pytest.raises(ValueError, match=r"id=.*: expected"):
        index.feedback(unit(0, 1)[0], id)


def test_reranker_decides_over_its_candidates_in_one_call() -> None:
    vectors = unit(0, 1000)
    index = ErsIndex(beam=8)
    index.build(vectors, np.arange(1000) + 7)
    calls = []

    def highest_id(query_rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        calls.append((query_rows.tolist(), candidates.shape))
        return candidates.astype(np.float64)

    seen, _ = index.search(vectors[:4], 30)
    found, scores = index.search(vectors[:4], 5, reranker=highest_id, rerank=30)
    assert calls == [([0, 1, 2, 3], (4, 30))]
    np.testing.assert_array_equal(found, -np.sort(-seen, axis=1)[:, :5])
    np.testing.assert_array_equal(scores, found)
    with pytest.raises(ValueError, match="returned scores"):
        index.search(vectors[:4], 5, reranker=lambda rows, ids: ids[:, :1])


def test_a_frozen_index_answers_the_same_whatever_was_asked() -> None:
    vectors = unit(0, 2000)
    index = ErsIndex(beam=2, success_weight=1.0, exploration=0.1)
    index.build(vectors, np.arange(2000))
    before = index.search(vectors[:40], 10)
    index.search(unit(5, 200), 3)
    with pytest.raises(ValueError, match="learn\\(\\) first"):
        index.feedback(vectors[0], 3)
    np.testing.assert_array_equal(index.search(vectors[:40], 10), before)


def test_a_skewed_stream_teaches_where_the_answers_are() -> None:
    """Everyone who asks a vague query means one shape, which lies where the beam does not look at first."""
    vectors = unit(0, 2000)
    index = ErsIndex(beam=1, refine=20, success_weight=0.9)
    index.build(vectors, np.arange(2000))
    query = unit(9, 1)
    wanted = index.search(query, 20, beam=1000)[0][0]
    answer = next(int(one) for one in wanted if one not in index.search(query, 20)[0])
    index.learn()
    with pytest.raises(ValueError, match="no such id"):
        index.feedback(query[0], 5000)
    for _ in range(200):
        index.feedback(query[0], answer)
    index.freeze()
    assert answer in index.search(query, 20)[0]
