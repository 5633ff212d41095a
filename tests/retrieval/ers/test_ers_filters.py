from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import Between, ErsIndex
from retrieval.ers.inverted_lists import CODECS, Codec
from retrieval.ers.metadata import Columns
from retrieval.storage import StoredArrays

ROWS = 6000


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def metadata() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "category": rng.choice(["chair", "lamp", "car"], ROWS, p=[0.6, 0.39, 0.01]),
        "license": ["CC0" if row % 2 else "CC-BY" for row in range(ROWS)],
        "size": rng.uniform(0, 2, ROWS),
        "parts": np.arange(ROWS) % 40,
    }


@pytest.fixture(scope="module", params=CODECS)
def index(request: pytest.FixtureRequest) -> ErsIndex:
    codec: Codec = request.param
    index = ErsIndex(beam=4, refine=30, codec=codec)
    index.build(unit(0, ROWS), np.arange(ROWS) + 100, metadata())
    return index


Mask = Callable[[dict[str, Any]], np.ndarray]


@pytest.mark.parametrize(
    ("where", "mask"),
    [
        ({"category": "lamp"}, lambda m: m["category"] == "lamp"),
        ({"category": ["lamp", "car", "boat"]}, lambda m: m["category"] != "chair"),
        ({"category": "car"}, lambda m: m["category"] == "car"),
        ({"size": Between(0.5, 0.6)}, lambda m: (m["size"] >= 0.5) & (m["size"] <= 0.6)),
        ({"size": Between(high=0.01)}, lambda m: m["size"] <= 0.01),
        ({"parts": 7}, lambda m: m["parts"] == 7),
        ({"parts": {7, 8, 400}}, lambda m: np.isin(m["parts"], [7, 8])),
        (
            {"category": "lamp", "license": "CC0", "size": Between(low=1)},
            lambda m: (m["category"] == "lamp") & (np.arange(ROWS) % 2 == 1) & (m["size"] >= 1),
        ),
        ({"category": "boat"}, lambda m: np.zeros(ROWS, bool)),
    ],
)
def test_a_filtered_search_finds_the_nearest_of_what_matches(index: ErsIndex, where: Any, mask: Mask) -> None:
    matching = np.flatnonzero(mask(metadata()))
    queries = unit(1, 100)
    found, scores = index.search(queries, 10, where=where)
    wanted = min(10, len(matching))
    assert ((found >= 0).sum(axis=1) == wanted).all()
    assert np.isin(found[found >= 0] - 100, matching).all()
    assert np.isneginf(scores[found < 0]).all()
    exact = queries @ unit(0, ROWS)[matching].T
    best = matching[np.argsort(-exact, axis=1)[:, :wanted]]
    recall = [np.isin(best[row], found[row] - 100).mean() for row in range(100) if wanted]
    unfiltered = queries @ unit(0, ROWS).T
    plain = index.search(queries, 10)[0] - 100
    without = [np.isin(np.argsort(-unfiltered[row])[:10], plain[row]).mean() for row in range(100)]
    # A filter must not cost more than the beam of 4 does.
    assert not wanted or np.mean(recall) > np.mean(without) - 0.03


def test_as_many_as_match_are_found_however_narrow_the_beam(index: ErsIndex) -> None:
    """6,000 in some 300 leaves of 20: one leaf holds about ten lamps, 200 are asked for."""
    found, _ = index.search(unit(1, 20), 200, where={"category": "lamp"}, beam=1, refine=1)
    assert (found >= 0).all()
    assert all(len(np.unique(row)) == 200 for row in found)


@pytest.mark.parametrize(("width", "kinds"), [(1, 2000), (2, 2000), (4, 6), (8, 6)])
def test_what_codes_leave_out_is_found_by_a_filter(width: int, kinds: int) -> None:
    """Few dimensions and copies of few vectors: faiss's fast scan loses those that score lowest by codes."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(kinds, width)).astype(np.float32)[rng.integers(0, kinds, 2000)]
    queries = rng.normal(size=(200, width)).astype(np.float32)
    index = ErsIndex()
    index.build(vectors, np.arange(2000), {"rest": np.arange(2000) % 20})
    found, scores = index.search(queries, 99, where={"rest": 0}, refine=99)
    assert (found % 20 == 0).all()
    assert (found >= 0).all()
    assert all(len(np.unique(row)) == 99 for row in found)
    exact = -np.sort(-(queries @ vectors[::20].T), axis=1)[:, :99]
    np.testing.assert_allclose(scores[:, 0], exact[:, 0], atol=1e-5)


def test_filters_follow_changes() -> None:
    index = ErsIndex()
    index.build(unit(0, 500), np.arange(500), {"kind": ["old"] * 500, "size": [1.0] * 500})
    query = unit(0, 1)
    assert index.search(query, 1, where={"kind": "old"})[0].tolist() == [[0]]
    index.update(None, np.array([0]), {"kind": ["new"]})
    assert index.search(query, 1, where={"kind": "new"})[0].tolist() == [[0]]
    assert index.search(query, 1, where={"kind": "old"})[0].tolist() != [[0]]
    index.update(-query, np.array([0]))
    assert index.search(-query, 2, where={"kind": "new", "size": 1})[0].tolist() == [[0, -1]]
    index.upsert(unit(5, 2), np.array([0, 900]), {"kind": ["new", "new"], "size": [3.0, 4.0]})
    assert index.search(unit(5, 2), 1, where={"kind": "new"})[0].ravel().tolist() == [0, 900]
    index.remove(np.array([900]))
    assert index.search(unit(5, 2), 2, where={"kind": "new"})[0].tolist() == [[0, -1]] * 2
    index.build(unit(0, 5), np.arange(5))
    with pytest.raises(ValueError, match="'kind' is unknown: the index has none; give metadata to build"):
        index.search(query, 1, where={"kind": "old"})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "'colour' is unknown: the index has category, license, size, parts"),
        ({"category": 3}, "'category' by 3: the column holds text"),
        ({"category": Between(0, 1)}, "text has no range"),
        ({"size": "large"}, "'size' by 'large': the column holds numbers"),
        ({"parts": [1, "two"]}, "by 'two'"),
        ({"parts": None}, "'parts' by None: expected text or a number, several of them or Between"),
        ({"parts": [1, None]}, "'parts' by None"),
        ({"parts": [[1]]}, r"'parts' by \[1\]"),
        ({"parts": np.ones((2, 2))}, "'parts' by array"),
        ({"parts": 1j}, "'parts' by 1j"),
        ({"category": b"lamp"}, "'category' by 108: the column holds text"),
        (5, "where=5: expected a condition for each column"),
    ],
)
def test_a_filter_that_does_not_fit_is_named(index: ErsIndex, where: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        index.search(unit(1, 1), 1, where=where)
    assert (index.search(unit(1, 1), 1)[0] >= 100).all()


@pytest.mark.parametrize(
    ("given_metadata", "message"),
    [
        ({"kind": "chair"}, "is 'chair' alone: expected 2 values"),
        ({"kind": ["chair", 3]}, "values of int, str: expected all text or all numbers"),
        ({"kind": ["chair", None]}, "NoneType"),
        ({"size": 1.0}, "'size' is 1.0 alone: expected 2 values"),
        ({"size": np.array(1.0)}, r"'size' is array\(1\.\) alone: expected 2"),
        ({"size": [1j, np.complex64(1)]}, "values of complex"),
        ([1.0, 2.0], "metadata of type list: expected the values of each column by name"),
        ({"size": [1.0]}, "has 1 values: expected 2"),
        ({"size": [[1.0, 2.0], [1.0, 3.0]]}, "values of list"),
    ],
)
def test_metadata_that_do_not_fit_are_named(given_metadata: Any, message: str) -> None:
    index = ErsIndex()
    with pytest.raises(ValueError, match=message):
        index.build(unit(0, 2), np.arange(2), given_metadata)
    assert len(index) == 0


LARGE = 2**60  # where float64 steps by 256


@pytest.mark.parametrize(
    ("condition", "matching"),
    [
        (LARGE + 5, [5]),
        (np.int64(LARGE + 5), [5]),
        ([LARGE + 5, 7.5, float("nan"), float("inf"), 2**70, -(2**70)], [5]),
        (float(LARGE), [0]),
        (5.5, []),
        (np.float32(LARGE), [0]),
        (np.uint64(2**63 + 5), []),
        (Between(LARGE + 5, LARGE + 6), [5, 6]),
        (Between(np.int64(LARGE + 5), np.int64(LARGE + 6)), [5, 6]),
        (Between(float(LARGE) - 0.5, float(LARGE)), [0]),
        (Between(low=LARGE + 298), [298, 299]),
        (Between(high=float(LARGE)), [0]),
        (Between(-(2**70), LARGE + 1), [0, 1]),
        (Between(2**70, 10**400), []),
        (Between(float("inf"), float("inf")), []),
    ],
)
def test_whole_numbers_are_compared_exactly(condition: Any, matching: list[int]) -> None:
    index = ErsIndex()
    index.build(unit(0, 300), np.arange(300), {"time": [LARGE + row for row in range(300)]})
    found, _ = index.search(unit(1, 1), 300, where={"time": condition})
    assert sorted(found[found >= 0]) == matching


def test_a_real_column_is_not_rounded_to() -> None:
    columns = Columns.build({"x": [float(LARGE), np.inf, 0.5]}, 3)
    for wanted, rows in [(LARGE, [0]), (LARGE + 5, []), (10**400, []), (np.inf, [1]), ([0.5, 1e400], [1, 2])]:
        assert np.flatnonzero(columns.matching({"x": wanted})).tolist() == rows


@pytest.mark.parametrize(
    "values",
    [
        np.full(2, 2**63 + 5, np.uint64),
        [2**63 + 5, -1],
        [np.uint64(2**63 + 5), np.uint64(1)],
    ],
)
def test_numbers_beyond_64_bits_are_refused(values: Any) -> None:
    message = f"metadata 'size' has {2**63 + 5}: expected whole numbers of 64 bits, .* give them as text"
    with pytest.raises(ValueError, match=message):
        ErsIndex().build(unit(0, 2), np.arange(2), {"size": values})
    index = ErsIndex()
    index.build(unit(0, 2), np.arange(2), {"size": np.array([2**63 - 1, 1], np.uint64)})
    assert index.search(unit(0, 1), 1, where={"size": 2**63 - 1})[0] == 0
    with pytest.raises(ValueError, match=message):
        index.update(None, np.arange(2), {"size": values})
    with pytest.raises(ValueError, match=f"'size' has {2**70}"):
        ErsIndex().build(unit(0, 2), np.arange(2), {"size": [0, 2**70]})


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Between(2, 1)
    with pytest.raises(ValueError, match="low <= high"):
        Between(float("nan"), 1)
    for low, high in (("a", "b"), (None, 1), (0, [1])):
        with pytest.raises(ValueError, match="expected two numbers"):
            Between(low, high)  # type: ignore[arg-type]


def test_values_may_come_in_any_collection(index: ErsIndex) -> None:
    expected, _ = index.search(unit(1, 3), 5, where={"parts": [7, 8]})
    for values in (
        {7, 8},
        (8, 7),
        np.array([7, 8]),
        range(7, 9),
        (part for part in (7, 8)),
        np.array([7.0, 8]),
    ):
        np.testing.assert_array_equal(index.search(unit(1, 3), 5, where={"parts": values})[0], expected)


TEXTS = st.lists(st.text('aé鳥\0"', max_size=3), min_size=1, max_size=30)


@given(TEXTS, TEXTS)
@settings(max_examples=30, deadline=None)
def test_columns_survive_the_way_through_arrays(first: list[str], second: list[str]) -> None:
    columns = Columns.build({"t": first, "n": range(len(first))}, len(first))
    rows = np.arange(len(first), len(first) + len(second))
    new = {"t": second, "n": range(len(second))}
    columns.write(rows, columns.check(new, len(second), partial=False))
    count = len(first) + len(second)
    again = Columns.from_arrays(StoredArrays(Path("rows"), columns.arrays(np.arange(count))), count)
    for one in (columns, again):
        for text in set(first + second):
            assert one.matching({"t": text}).tolist() == [text == each for each in first + second]
        assert one.matching({"n": 0}).sum() == 2
