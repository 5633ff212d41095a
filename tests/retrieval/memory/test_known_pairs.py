"""The bank of known pairs: both terms against plain formulas, growth, storage, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import ErsIndex, KnownPairs


def unit(seed: int, rows: int, width: int = 8) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def plain_recall(memory: KnownPairs, queries: np.ndarray) -> np.ndarray:
    weights = np.exp(memory.sharpness * (queries.astype(float) @ memory.keys.T.astype(float)))
    return weights @ memory.values / weights.sum(axis=1, keepdims=True)


def plain_hubness(memory: KnownPairs, vectors: np.ndarray, own: list[list[int]]) -> np.ndarray:
    terms = np.exp(memory.beta * (vectors.astype(float) @ memory.keys.T.astype(float)))
    for row, places in enumerate(own):
        terms[row, places] = np.nan
    return np.log(np.nanmean(terms, axis=1)) / memory.beta


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.integers(1, 5000),
    rows=st.integers(0, 600),
    sharpness=st.sampled_from([0.5, 60.0, 500.0]),
    beta=st.sampled_from([0.5, 30.0, 300.0]),
)
def test_both_terms_are_those_of_the_formulas(pairs: int, rows: int, sharpness: float, beta: float) -> None:
    memory = KnownPairs(unit(0, pairs), unit(1, pairs), sharpness=sharpness, beta=beta)
    queries = unit(2, rows)
    recalled, hubness = memory.recall(queries), memory.hubness(queries)
    assert recalled.dtype == hubness.dtype == np.float32
    np.testing.assert_allclose(recalled, plain_recall(memory, queries), atol=2e-4)
    np.testing.assert_allclose(hubness, plain_hubness(memory, queries, [[]] * rows), atol=1e-5)


def test_long_vectors_and_a_steep_softmax_neither_overflow_nor_vanish() -> None:
    memory = KnownPairs(100 * unit(0, 300), unit(1, 300), sharpness=1e4, beta=1e4)
    queries = 100 * unit(2, 20)
    nearest = (queries @ memory.keys.T).argmax(axis=1)
    np.testing.assert_allclose(memory.recall(queries), memory.values[nearest], atol=1e-5)
    scores = (queries.astype(float) @ memory.keys.T.astype(float)).max(axis=1)
    np.testing.assert_allclose(memory.hubness(queries), scores, rtol=1e-4)


def test_a_vectors_own_pairs_are_left_out_of_its_hubness() -> None:
    memory = KnownPairs(unit(0, 4500), unit(1, 4500))
    vectors = memory.keys[[0, 2100, 4400, 7]].copy()
    own = [[0], [2100, 3], [4400, 4400], []]
    places = np.array([[0, -1], [2100, 3], [4400, 4400], [-1, -1]])
    found = memory.hubness(vectors, places)
    np.testing.assert_allclose(found, plain_hubness(memory, vectors, own), atol=1e-5)
    assert (found[:3] < memory.hubness(vectors)[:3] - 0.03).all()
    alone = KnownPairs(unit(0, 1), unit(1, 1))
    assert alone.hubness(vectors[:2], np.array([[0], [-1]]))[0] == 0
    assert not alone.recall(vectors[:1], np.array([[0]])).any()


def test_a_query_that_is_known_does_not_recall_itself() -> None:
    memory = KnownPairs(unit(0, 4500), unit(1, 4500))
    places = np.array([[0], [2100], [4400]])
    others = [np.delete(np.arange(4500), place) for place in places[:, 0]]
    found = memory.recall(memory.keys[places[:, 0]], places)
    for row, kept in enumerate(others):
        rest = KnownPairs(memory.keys[kept], memory.values[kept])
        np.testing.assert_allclose(found[row], rest.recall(memory.keys[places[row]])[0], atol=1e-5)
    assert (np.abs(found - memory.recall(memory.keys[places[:, 0]])).max(axis=1) > 0.01).all()


def test_hubness_does_not_depend_on_how_often_the_bank_says_the_same() -> None:
    once, twice = (KnownPairs(np.tile(unit(0, 50), (n, 1)), np.tile(unit(1, 50), (n, 1))) for n in (1, 2))
    np.testing.assert_allclose(once.hubness(unit(3, 9)), twice.hubness(unit(3, 9)), atol=1e-6)
    np.testing.assert_allclose(once.recall(unit(3, 9)), twice.recall(unit(3, 9)), atol=1e-6)


def test_an_empty_bank_recalls_nothing_and_has_no_hubs() -> None:
    memory = KnownPairs.empty(8)
    assert len(memory) == 0
    assert memory.width == 8
    assert memory.resident_bytes() == 0
    assert not memory.recall(unit(0, 5)).any()
    assert not memory.hubness(unit(0, 5)).any()
    assert memory.add(unit(1, 2), unit(2, 2)).tolist() == [0, 1]
    assert memory.recall(unit(0, 5)).any()


def test_pairs_added_one_by_one_are_as_good_as_all_at_once() -> None:
    keys, values = unit(0, 70), unit(1, 70)
    memory = KnownPairs(keys[:3], values[:3])
    before = memory.keys
    for row in range(3, 70):
        assert memory.add(keys[row : row + 1], values[row : row + 1]).tolist() == [row]
    np.testing.assert_array_equal(memory.keys, keys)
    np.testing.assert_array_equal(memory.values, values)
    np.testing.assert_array_equal(before, keys[:3])
    assert 70 * 8 * 8 <= memory.resident_bytes() <= 2 * 70 * 8 * 8
    with pytest.raises(ValueError, match="read-only"):
        memory.keys[0] = 0


def test_a_saved_bank_is_read_as_it_was(tmp_path: Path) -> None:
    memory = KnownPairs(unit(0, 20), unit(1, 20), sharpness=11, beta=7)
    memory.add(unit(2, 1), unit(3, 1))
    memory.save(tmp_path / "bank")
    again = KnownPairs.load(tmp_path / "bank")
    assert (again.sharpness, again.beta, len(again)) == (11, 7, 21)
    np.testing.assert_array_equal(again.recall(unit(4, 5)), memory.recall(unit(4, 5)))
    KnownPairs.empty(4).save(tmp_path / "bank")
    assert len(KnownPairs.load(tmp_path / "bank")) == 0
    file = next((tmp_path / "bank").glob("data-*/memory.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"memory.safetensors is damaged"):
        KnownPairs.load(tmp_path / "bank")
    index = ErsIndex()
    index.build(unit(0, 20), np.arange(20))
    index.save(tmp_path / "index")
    with pytest.raises(ValueError, match="holds no known pairs"):
        KnownPairs.load(tmp_path / "index")


@pytest.mark.parametrize(
    ("keys", "values", "words"),
    [
        (unit(0, 3), unit(0, 4), r"keys \(3, 8\), values \(4, 8\): expected one value a key"),
        (unit(0, 3), unit(0, 3, 4), "expected one value a key"),
        (unit(0, 3)[0], unit(0, 3), r"keys of shape \(8,\): expected \[N, D\]"),
        (unit(0, 3) * [[1], [0], [1]], unit(0, 3), "keys: row 1 is zero"),
        (unit(0, 3), unit(0, 3) * [[1], [1], [np.nan]], r"values\[2\] has a value that is not finite"),
        (np.empty((0, 0)), np.empty((0, 0)), "one dimension or more"),
        (np.array([["a"]]), unit(0, 1), "expected an array of numbers"),
    ],
)
def test_pairs_that_are_none_are_refused(keys: np.ndarray, values: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KnownPairs(keys, values)


def test_what_does_not_fit_a_bank_is_refused_and_it_stays_as_it_was() -> None:
    memory = KnownPairs(unit(0, 5), unit(1, 5))
    for ask, words in (
        (lambda: memory.recall(unit(0, 2, 3)), "queries of width 3: the known pairs have width 8"),
        (lambda: memory.hubness(unit(0, 2, 3)), "vectors of width 3"),
        (lambda: memory.hubness(unit(0, 2), np.array([[0]])), r"leave_out of shape \(1, 1\)"),
        (
            lambda: memory.hubness(unit(0, 1), np.array([[5]])),
            "leave_out from 5 to 5: expected places among 5",
        ),
        (lambda: memory.hubness(unit(0, 1), np.array([[0.5]])), "expected whole numbers"),
        (lambda: memory.add(unit(0, 2), unit(0, 1)), "expected one value a key"),
        (lambda: memory.add(unit(0, 2, 3), unit(0, 2, 3)), "keys of width 3"),
        (lambda: setattr(memory, "sharpness", 0), "sharpness=0: expected a number from 0.001"),
        (lambda: setattr(memory, "beta", float("nan")), "beta=nan"),
    ):
        with pytest.raises(ValueError, match=words):
            ask()
    assert len(memory) == 5
