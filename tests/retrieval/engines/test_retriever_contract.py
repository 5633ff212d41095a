"""What every engine answers and refuses alike, ours and exact search among them."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import ENGINES, MissingEngineError, Retriever, make_index
from retrieval.engines import COMPOSED, search_params_of

WIDTH = 16


def unit(rows: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def made(name: str) -> Retriever:
    """With the search_params turned to where it looks at nearly everything."""
    try:
        engine = make_index(name)
    except MissingEngineError as error:
        pytest.skip(str(error))
    for param, values in search_params_of(engine).items():
        setattr(engine, param, values[-1])
    return engine


@pytest.fixture(params=[*ENGINES, *COMPOSED])
def empty(request: pytest.FixtureRequest) -> Retriever:
    return made(request.param)


@pytest.fixture(scope="module", params=[*ENGINES, *COMPOSED])
def built(request: pytest.FixtureRequest) -> Retriever:
    engine = made(request.param)
    engine.build(unit(60), 100 + np.arange(60))
    return engine


def test_all_that_there_is_can_be_asked_for_and_no_more(built: Retriever) -> None:
    for count in (1, 4):
        ids, scores = built.search(unit(60)[:count], 60)
        assert ids.shape == scores.shape == (count, 60)
        assert ids.dtype == np.int64
        assert scores.dtype == np.float32
        assert ids[:, 0].tolist() == [100 + row for row in range(count)]
        for found, own in zip(ids, scores, strict=True):
            there = found >= 0
            assert there.sum() >= 58  # a graph may lose a node
            assert len(np.unique(found[there])) == there.sum()
            assert (np.diff(own[there]) <= 1e-6).all()
            assert np.isneginf(own[~there]).all()
        with pytest.raises(ValueError, match="k=61: the index holds 60; ask for at most as many"):
            built.search(unit(count), 61)


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (unit(1, width=2), 1, "queries of width 2: the index was built with 16"),
        (unit(1)[0], 1, r"queries of shape \(16,\)"),
        (unit(1), 0, "k=0: expected at least 1"),
        (unit(1), 3.0, "k=3.0: expected a whole number; give an int"),
        (unit(1), True, "k=True: expected a whole number"),
        (unit(1), "3", "k='3': expected a whole number"),
        (unit(1), None, "k=None: expected a whole number"),
        (unit(1), 2**40, "k=1099511627776: expected at most"),
        (np.full((1, WIDTH), np.nan), 1, r"queries\[0\] has a value that is not finite"),
        (np.full((1, WIDTH), np.inf), 1, r"queries\[0\] has a value that is not finite"),
        (unit(3) * [[1], [1], [0]], 1, "queries: row 2 is zero, expected a direction"),
        (unit(3) * [[1], [1e-44], [1]], 1, r"queries\[1\] has length .*: expected 1e-15 to 1e\+15; scale"),
        (unit(3) * [[1], [1e20], [1]], 1, r"queries\[1\] has length 1e\+20"),
        (np.full((1, WIDTH), 1e300), 1, "not finite"),
        ("abc", 1, "queries: expected an array of numbers"),
        ([[1.0, 2.0], [3.0]], 1, "queries: expected an array of numbers"),
        ({1: 2}, 1, "queries: expected an array of numbers"),
    ],
)
def test_a_query_that_means_nothing_is_refused(
    built: Retriever, queries: np.ndarray, k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built.search(queries, k)


def test_numbers_of_any_library_will_do(built: Retriever) -> None:
    expected = built.search(unit(2), 3)
    for three in (np.int64(3), np.uint8(3), np.array(3)):
        np.testing.assert_array_equal(built.search(unit(2), three), expected)  # type: ignore[arg-type]


def test_no_queries_have_no_answers(built: Retriever) -> None:
    ids, scores = built.search(np.empty((0, WIDTH), np.float32), 3)
    assert ids.shape == scores.shape == (0, 3)


BAD_CONTENT = [
    (unit(1)[0], [0], r"shape \(16,\)"),
    (unit(2), [0], "one id a vector"),
    (unit(2), [0, 0], "id 0 is given 2 times: expected distinct ids"),
    (unit(1), 5, r"ids of shape \(\): expected a list"),
    (unit(2), [-1, 0], "id -1: expected 0 or more"),
    (unit(2), np.array([2**63 + 5, 0], np.uint64), f"id {2**63 + 5}: expected at most {2**63 - 1}"),
    (unit(2), [0.5, 1.0], "expected whole numbers"),
    (unit(0), [], "at least one vector"),
    (unit(2) * [[1], [np.nan]], [0, 1], "not finite"),
    (unit(2) * [[1], [0]], [0, 1], "row 1 is zero, expected a direction"),
    (unit(60) * 1e-30, range(60), "has length 1e-30: expected 1e-15 to"),
    (unit(60) * 1e20, range(60), r"has length 1e\+20"),
]


@pytest.mark.parametrize(("vectors", "ids", "message"), BAD_CONTENT)
def test_content_that_means_nothing_is_refused_and_the_index_stays(
    built: Retriever, vectors: np.ndarray, ids: list[int], message: str
) -> None:
    before = built.search(unit(3), 5)
    with pytest.raises(ValueError, match=message):
        built.build(vectors, np.asarray(ids))
    np.testing.assert_array_equal(built.search(unit(3), 5), before)


@pytest.mark.parametrize(("vectors", "ids", "message"), BAD_CONTENT)
def test_an_index_that_was_refused_its_content_is_empty(
    empty: Retriever, vectors: np.ndarray, ids: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        empty.build(vectors, np.asarray(ids))
    with pytest.raises(ValueError, match=r"search on an empty index: call build\(vectors, ids\) first"):
        empty.search(unit(1), 1)


def test_one_vector_is_enough(empty: Retriever) -> None:
    if empty.name == "diskann":
        with pytest.raises(ValueError, match="expected at least 2"):
            empty.build(unit(1), np.array([7]))
        return
    empty.build(unit(1), np.array([7]))
    assert empty.search(unit(3), 1)[0].tolist() == [[7]] * 3


def test_two_vectors_are_told_apart(empty: Retriever) -> None:
    empty.build(unit(2), np.array([7, 3]))
    assert empty.search(unit(2), 1)[0].tolist() == [[7], [3]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [2e-15, 0.9e15])
def test_vectors_of_any_length_that_is_taken_are_searched(empty: Retriever, length: float) -> None:
    """Without an error, a warning or the process's end; how well depends on the engine's codes."""
    vectors = unit(600)
    empty.build((vectors * length).astype(np.float32), np.arange(600))
    for own in (2e-15, 1, 0.9e15):
        ids, scores = empty.search(vectors[:50] * np.float32(own), 1)
        assert (np.isfinite(scores) == (ids >= 0)).all()
