from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from retrieval import ErsIndex, FlatIndex
from retrieval.benchmark.synthetic import Mixture, queries_of, vectors_of
from retrieval.ers.inverted_lists import CODECS, Codec

WIDTH = 6


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def whole(seed: int, rows: int) -> np.ndarray:
    """Small whole numbers: products are exact and ties are many."""
    x = np.random.default_rng(seed).integers(-2, 3, size=(rows, WIDTH)).astype(np.float32)
    x[~x.any(axis=1), 0] = 1
    return x


class AnyOrderOfChanges(RuleBasedStateMachine):
    """The index beside a dictionary from id to vector and size."""

    codec: Codec = "pq"

    @initialize(rows=st.integers(1, 60))
    def build(self, rows: int) -> None:
        self.index = ErsIndex(beam=1000, refine=1, codec=self.codec)
        self.known = dict(zip(range(rows), zip(whole(0, rows), range(rows), strict=True), strict=True))
        self.index.build(whole(0, rows), np.arange(rows), {"size": range(rows)})

    def remember(self, ids: list[int], vectors: np.ndarray, sizes: list[int]) -> None:
        self.known.update(zip(ids, zip(vectors, sizes, strict=True), strict=True))

    @rule(ids=st.sets(st.integers(0, 200), max_size=30), seed=st.integers(0, 999))
    def add(self, ids: set[int], seed: int) -> None:
        new = [one for one in ids if one not in self.known]
        self.index.add(whole(seed, len(new)), np.array(new, np.int64), {"size": new})
        self.remember(new, whole(seed, len(new)), new)

    @rule(ids=st.sets(st.integers(0, 200), max_size=30), seed=st.integers(0, 999))
    def upsert(self, ids: set[int], seed: int) -> None:
        sizes = [one + seed for one in ids]
        self.index.upsert(whole(seed, len(ids)), np.array(list(ids), np.int64), {"size": sizes})
        self.remember(list(ids), whole(seed, len(ids)), sizes)

    @rule(share=st.floats(0, 1), seed=st.integers(0, 999))
    def update(self, share: float, seed: int) -> None:
        some = [one for one in self.known if one % 100 < share * 100]
        self.index.update(whole(seed, len(some)), np.array(some, np.int64))
        self.remember(some, whole(seed, len(some)), [self.known[one][1] for one in some])

    @rule(share=st.floats(0, 1))
    def remove(self, share: float) -> None:
        some = [one for one in self.known if one % 100 < share * 100]
        self.index.remove(np.array(some, np.int64))
        for one in some:
            del self.known[one]

    @invariant()
    def answers_are_exact(self) -> None:
        assert len(self.index) == len(self.known)
        if not self.known:
            return
        ids = np.array(sorted(self.known))
        vectors, metadata = self.index.get(ids[::-1])
        assert (vectors == np.array([self.known[one][0] for one in ids[::-1]])).all()
        assert metadata["size"].tolist() == [self.known[one][1] for one in ids[::-1]]
        query = np.arange(1, WIDTH + 1, dtype=np.float32)
        exact = np.array([self.known[one][0] for one in ids]) @ query
        k = min(5, len(ids))
        # All are scored, by whichever way: as candidates of the codes, or at once.
        for refine in (len(ids), len(ids) - 1):
            found, scores = self.index.search(query[None], k, refine=max(1, refine, k))
            if refine == len(ids) or k == len(ids):
                best = np.lexsort((ids, -exact))[:k]
                assert found[0].tolist() == ids[best].tolist()
                assert scores[0].tolist() == exact[best].tolist()
            assert np.isin(found, ids).all()
        sizes = np.array([self.known[one][1] for one in ids])
        even = ids[np.isin(sizes, np.arange(0, 2000, 2))]
        found = self.index.search(query[None], k, where={"size": list(range(0, 2000, 2))})[0][0]
        assert sorted(found[found >= 0]) == sorted(set(found[found >= 0]) & set(even))
        assert (found >= 0).sum() == min(k, len(even))


class AnyOrderOfChangesScalar(AnyOrderOfChanges):
    codec = "sq8"


AnyOrderOfChanges.TestCase.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)
AnyOrderOfChangesScalar.TestCase.settings = AnyOrderOfChanges.TestCase.settings
TestAnyOrderOfChanges = AnyOrderOfChanges.TestCase
TestAnyOrderOfChangesScalar = AnyOrderOfChangesScalar.TestCase


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_added_is_found_by_its_codes(codec: Codec) -> None:
    vectors = unit(0, 4000)
    index = ErsIndex(beam=4, refine=20, codec=codec)
    index.build(vectors[:3000], np.arange(3000))
    index.add(vectors[3000:], np.arange(3000, 4000))
    assert np.mean(index.search(vectors[3000:], 1)[0][:, 0] == np.arange(3000, 4000)) > 0.98
    index.remove(np.arange(0, 4000, 2))
    found, _ = index.search(vectors, 5)
    assert (found % 2 == 1).all()
    index.update(vectors[:100], np.arange(1, 200, 2))
    assert np.mean(index.search(vectors[:100], 1)[0][:, 0] == np.arange(1, 200, 2)) > 0.98


def test_an_emptied_index_fills_again(tmp_path) -> None:
    index = ErsIndex()
    index.build(unit(0, 300), np.arange(300))
    index.remove(np.arange(300))
    assert len(index) == 0
    with pytest.raises(ValueError, match="k=1: the index holds 0"):
        index.search(unit(1, 1), 1)
    index.save(tmp_path / "empty")
    index = ErsIndex.load(tmp_path / "empty")
    index.add(unit(1, 200), np.arange(200))
    assert index.search(unit(1, 200), 1)[0][:, 0].tolist() == list(range(200))


def test_memory_does_not_grow_with_replacements() -> None:
    index = ErsIndex(codec="sq8")
    index.build(unit(0, 500), np.arange(500))
    index.update(unit(1, 500), np.arange(500))
    before = index.resident_bytes()
    for seed in range(20):
        index.update(unit(seed, 500), np.arange(500))
    assert index.resident_bytes() == before


@pytest.mark.parametrize("codec", CODECS)
def test_a_changed_index_is_saved_without_what_was_removed(tmp_path, codec: Codec) -> None:
    vectors, queries = unit(0, 3000), unit(1, 100)
    index = ErsIndex(beam=8, refine=50, codec=codec)
    index.build(vectors[:2000], np.arange(2000) * 5, {"kind": ["abc"[i % 3] for i in range(2000)]})
    index.remove(np.arange(0, 1000) * 5)
    index.add(vectors[2000:], np.arange(2000, 3000) * 5, {"kind": ["bcd"[i % 3] for i in range(1000)]})
    index.save(tmp_path / "a")
    assert (tmp_path / "a").is_dir()
    (stored,) = (tmp_path / "a").glob("data-*/vectors.npy")
    assert np.load(stored).shape == (2000, 16)
    again = ErsIndex.load(tmp_path / "a")
    for where in ({}, {"kind": "b"}, {"kind": ["a", "d"]}):
        for part in (queries, queries[:2]):
            for mine, theirs in zip(
                index.search(part, 9, where=where), again.search(part, 9, where=where), strict=True
            ):
                np.testing.assert_array_equal(mine, theirs)
    # A loaded index goes on like the one that was saved.
    for one in (index, again):
        one.remove(np.arange(1000, 1500) * 5)
        one.add(vectors[:500], np.arange(500), {"kind": ["a"] * 500})
        one.save(tmp_path / "b")
        assert len(ErsIndex.load(tmp_path / "b")) == 2000
    np.testing.assert_array_equal(
        index.search(queries, 2000, beam=1000)[0], again.search(queries, 2000, beam=1000)[0]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.add(unit(1, 2), [7, 60], {"n": [1, 2]}), "id 7: the index has it"),
        (lambda index: index.add(unit(1, 2), [60, 60], {"n": [1, 2]}), "id 60 is given 2 times"),
        (lambda index: index.add(unit(1, 2), [60], {"n": [1]}), "one id a vector"),
        (
            lambda index: index.add(unit(1, 2, 8), [60, 61], {"n": [1, 2]}),
            "width 8: the index was",
        ),
        (lambda index: index.add(np.zeros((1, 16)), [60], {"n": [1]}), "row 0 is zero"),
        (lambda index: index.add(np.full((1, 16), np.nan), [60], {"n": [1]}), "not finite"),
        (lambda index: index.add(unit(1, 1), [-4], {"n": [1]}), "id -4"),
        (lambda index: index.add(unit(1, 1), [60]), "'n' is missing"),
        (lambda index: index.add(unit(1, 1), [60], {"n": [1], "m": [1]}), "'m' is unknown: the index has n"),
        (lambda index: index.add(unit(1, 1), [60], {"n": ["one"]}), "not numbers"),
        (lambda index: index.add(unit(1, 1), [60], {"n": [0.5]}), "real numbers"),
        (lambda index: index.add(unit(1, 1), [60], {"n": [1, 2]}), "has 2 values"),
        (lambda index: index.update(unit(1, 2), [7, 60]), "id 60: the index has no such id"),
        (lambda index: index.update(None, [7], {"n": [None]}), "NoneType"),
        (lambda index: index.upsert(unit(1, 2), [7, 60]), "'n' is missing"),
        (lambda index: index.remove([7, 60]), "id 60: the index has no such id"),
        (lambda index: index.remove([7, 7]), "2 times"),
        (lambda index: index.remove(7), "expected a list of ids"),
        (lambda index: index.remove({7}), "expected a list of ids"),
        (lambda index: index.update(None, 7, {"n": [1]}), "expected a list of ids"),
    ],
)
def test_a_refused_change_changes_nothing(change, message: str, tmp_path) -> None:
    index = ErsIndex(codec="sq8")
    index.build(unit(0, 50), np.arange(50), {"n": range(50)})
    before = index.search(unit(1, 3), 50)
    with pytest.raises(ValueError, match=message):
        change(index)
    assert len(index) == 50
    np.testing.assert_array_equal(index.search(unit(1, 3), 50), before)
    assert index.search(unit(0, 50)[7:8], 1, where={"n": 7})[0] == 7
    for call in (lambda: ErsIndex().add(unit(0, 1), [0]), lambda: ErsIndex().remove([0])):
        with pytest.raises(ValueError, match="empty index"):
            call()


def test_an_index_tells_what_it_holds() -> None:
    index = ErsIndex(beam=4)
    assert (
        repr(index)
        == "<ErsIndex: empty, beam=4, refine=100, codec='pq', precision='float32', backend='numba', frozen>"
    )
    assert index.ids.tolist() == []
    assert 3 not in index
    index.build(unit(0, 80), np.arange(80)[::-1] * 3)
    index.remove(np.arange(3, 80) * 3)
    index.add(unit(1, 1), np.array([2**63 - 1]))
    index.learn()
    assert index.ids.tolist() == [0, 3, 6, 2**63 - 1]
    assert [one in index for one in (3, np.int64(6), 2**63 - 1)] == [True] * 3
    assert [one in index for one in (9, -1, 4, 2**70, 3.5, "3", None)] == [False] * 7
    assert repr(index).startswith(
        "<ErsIndex: 4 vectors of width 16 in 1 leaves, beam=4, refine=100, codec='pq'"
    )
    assert repr(index).endswith("learning>")
    index.ids[:] = 7  # a copy
    assert 3 in index


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e6, 1e-9])
def test_what_half_precision_cannot_hold_is_refused(scale: float) -> None:
    index = ErsIndex(precision="float16")
    message = (
        r"row 0 has .* as its largest value: float16 holds .*; scale the vectors or take precision='float32'"
    )
    with pytest.raises(ValueError, match=message):
        index.build(unit(0, 300) * scale, np.arange(300))
    assert len(index) == 0
    index.build(unit(0, 300), np.arange(300))
    before = index.search(unit(1, 5), 5)
    for change in (index.update, index.upsert):
        with pytest.raises(ValueError, match=message):
            change(unit(0, 300) * scale, np.arange(300))
    with pytest.raises(ValueError, match=message):
        index.add(unit(0, 300) * scale, np.arange(300) + 300)
    np.testing.assert_array_equal(index.search(unit(1, 5), 5), before)
    exact = ErsIndex()
    exact.build(unit(0, 300) * scale, np.arange(300))
    assert (exact.search(unit(0, 300), 1, refine=300)[0][:, 0] == np.arange(300)).all()


def test_replacing_three_tenths_costs_no_recall() -> None:
    """Against an index built afresh from the same content, by codes and beam as they are by default."""
    recipe = Mixture(width=32, coarse=12, fine=20, rank=10)
    vectors = np.concatenate(list(vectors_of(recipe, 20_000)))
    queries = queries_of(recipe, 20_000, 500).vectors
    first = np.random.default_rng(0).permutation(20_000)[:15_385]  # so that 30 % of it are the rest
    rest = np.setdiff1d(np.arange(20_000), first)
    removed = first[: len(rest)]
    changed = ErsIndex(beam=16)
    changed.build(vectors[first], first)
    changed.remove(removed)
    changed.add(vectors[rest], rest)
    content = np.setdiff1d(np.arange(20_000), removed)
    fresh, flat = ErsIndex(beam=16), FlatIndex()
    fresh.build(vectors[content], content)
    flat.build(vectors[content], content)
    exact = flat.search(queries, 10)[0]
    recalls = [
        np.mean([np.isin(exact[row], found[row]).mean() for row in range(len(queries))])
        for found in (changed.search(queries, 10)[0], fresh.search(queries, 10)[0])
    ]
    assert recalls[1] > 0.9
    assert recalls[0] > recalls[1] - 0.01


def test_what_is_there_can_be_read_back(tmp_path: Path) -> None:
    vectors = unit(0, 300)
    names = [f"part {row % 7}" for row in range(300)]
    index = ErsIndex(precision="float16")
    with pytest.raises(ValueError, match="get on an empty index"):
        index.get(np.array([0]))
    index.build(vectors, np.arange(300) * 2, {"name": names, "weight": np.arange(300) / 4})
    index.update(None, np.array([10]), {"name": ["spring"]})
    index.save(tmp_path / "index")
    for kept in (index, ErsIndex.load(tmp_path / "index")):
        found, metadata = kept.get(np.array([598, 10]))
        np.testing.assert_allclose(found, vectors[[299, 5]], atol=1e-3)
        assert metadata["name"].tolist() == ["part 5", "spring"]
        assert metadata["weight"].tolist() == [299 / 4, 5 / 4]
        found[:] = 0  # a copy
        assert kept.get(np.array([10]))[0].any()
        with pytest.raises(ValueError, match="get of id 7: the index has no such id"):
            kept.get(np.array([10, 7]))
    assert index.get(np.array([], np.int64))[0].shape == (0, vectors.shape[1])
