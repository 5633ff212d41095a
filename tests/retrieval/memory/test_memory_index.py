"""An index with memory: any engine over folded vectors, strengths that move, changes, feedback, storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval import ENGINES, ErsIndex, FlatIndex, KnownPairs, MemoryIndex, MissingEngineError, make_index
from retrieval.benchmark.curves import overlap
from retrieval.memory.folding import Folding, fold_queries, fold_vectors, unfold_vectors
from retrieval.protocol import Retriever

WIDTH, GROUPS = 16, 60


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def spread(seed: int, rows: int, width: int = WIDTH) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, width)))


class World:
    """Groups of shapes that texts ask for in words which lie elsewhere than the shapes do.

    A part of the groups are hubs: their shapes lie where texts do.
    """

    def __init__(self, count: int = 3000, pairs: int = 1500, queries: int = 400) -> None:
        self.draw = np.random.default_rng(0)
        self.shape_of, base = spread(1, GROUPS), spread(2, GROUPS)
        self.text_of = unit(0.5 * self.shape_of + base + 0.2)
        self.shape_of[:6] = unit(self.shape_of[:6] + 0.3)
        self.groups, self.vectors = self.some(count, self.shape_of)
        bank, keys = self.some(pairs, self.text_of)
        self.memory = KnownPairs(keys, self.near(bank, self.shape_of))
        self.asked, self.queries = self.some(queries, self.text_of)

    def some(self, count: int, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        groups = self.draw.integers(0, GROUPS, count)
        return groups, self.near(groups, centers)

    def near(self, groups: np.ndarray, centers: np.ndarray) -> np.ndarray:
        return unit(centers[groups] + 0.08 * self.draw.normal(size=(len(groups), WIDTH)))

    def scores(self, recall: float, hubness: float, vectors: np.ndarray | None = None) -> np.ndarray:
        vectors = self.vectors if vectors is None else vectors
        moved = self.queries + recall * self.memory.recall(self.queries)
        return moved @ vectors.T - hubness * self.memory.hubness(vectors)

    def hits(self, ids: np.ndarray) -> float:
        return float((self.groups[ids[:, 0]] == self.asked).mean())


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Retriever:
    try:
        made = make_index(request.param)
    except MissingEngineError as error:
        pytest.skip(str(error))
    return made


def generous(engine: Retriever) -> Retriever:
    for name, values in getattr(engine, "search_params", {}).items():
        setattr(engine, name, values[-1])
    return engine


@pytest.mark.parametrize("width", [1, 6, 32, 33])
def test_folded_vectors_give_the_score_and_have_one_length(width: int) -> None:
    draw = np.random.default_rng(0)
    vectors, queries, recalled = (spread(seed, 50, width) for seed in (0, 1, 2))
    hubness = draw.normal(0.3, 0.05, 50).astype(np.float32)
    folding = Folding.of(width, hubness)
    folded = fold_vectors(vectors, hubness, folding)
    assert folded.shape[1] % 4 == 0
    assert folded.shape[1] >= width + 2
    lengths = np.linalg.norm(folded, axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(1 + folding.reach**2), rtol=1e-6)
    assert lengths[0] > 1 + 1e-4
    asked = fold_queries(queries, recalled, folding, recall=0.7, hubness=1.3)
    wanted = (queries + 0.7 * recalled) @ vectors.T - 1.3 * hubness
    np.testing.assert_allclose(asked @ folded.T - 1.3 * folding.mean, wanted, atol=2e-6)
    back, columns = unfold_vectors(folded, folding)
    np.testing.assert_array_equal(back, vectors)
    np.testing.assert_allclose(columns, hubness, atol=1e-6)


def test_hubness_beyond_reach_stays_exact() -> None:
    folding = Folding(4, 0.2, 0.1)
    vectors, far = spread(0, 3, 4), np.array([0.2, 0.9, -0.4], np.float32)
    folded = fold_vectors(vectors, far, folding)
    asked = fold_queries(vectors, np.zeros_like(vectors), folding, recall=0, hubness=2)
    np.testing.assert_allclose(asked @ folded.T - 2 * 0.2, vectors @ vectors.T - 2 * far, atol=1e-6)
    assert (np.linalg.norm(folded, axis=1)[1:] > np.linalg.norm(folded, axis=1)[0]).all()


def test_the_world_is_one_where_both_terms_help(world: World) -> None:
    shares = [
        world.hits(world.scores(*strengths).argmax(axis=1)[:, None]) for strengths in ((0, 0), (0, 1), (1, 1))
    ]
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


def test_every_engine_ranks_by_the_folded_score(world: World, engine: Retriever) -> None:
    index = MemoryIndex(generous(engine), world.memory, recall=1, hubness=1)
    index.build(world.vectors, np.arange(len(world.vectors)))
    ids, scores = index.search(world.queries, 10)
    wanted = world.scores(1, 1)
    assert overlap(ids, np.argsort(-wanted, axis=1)[:, :10]) > 0.97
    found = ids >= 0
    np.testing.assert_allclose(
        scores[found], np.take_along_axis(wanted, np.maximum(ids, 0), 1)[found], atol=0.02
    )
    assert index.name == f"{engine.name}+memory"
    assert index.resident_bytes() == engine.resident_bytes() + 8 * WIDTH * len(world.memory)  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [{}, {"codec": "sq8"}, {"backend": "faiss"}, {"precision": "float16"}])
def test_ers_finds_what_exact_search_over_the_folded_score_finds(world: World, settings: dict) -> None:
    ers, exact = (
        MemoryIndex(engine, world.memory)
        for engine in (ErsIndex(beam=24, refine=200, **settings), FlatIndex())
    )
    for index in (ers, exact):
        index.build(world.vectors, np.arange(len(world.vectors)))
    assert overlap(ers.search(world.queries, 10)[0], exact.search(world.queries, 10)[0]) > 0.97
    plain = FlatIndex()
    plain.build(world.vectors, np.arange(len(world.vectors)))
    gain = world.hits(ers.search(world.queries, 1)[0]) - world.hits(plain.search(world.queries, 1)[0])
    assert gain > 0.1


def test_strengths_move_without_rebuilding(world: World) -> None:
    index = MemoryIndex(ErsIndex(refine=len(world.vectors)), world.memory)
    index.build(world.vectors, np.arange(len(world.vectors)))
    for recall, hubness in ((0, 0), (0.5, 0), (0, 2), (1.5, 0.75)):
        index.recall, index.hubness = recall, hubness
        ids, scores = index.search(world.queries, 5)
        wanted = world.scores(recall, hubness)
        np.testing.assert_allclose(scores, -np.sort(-wanted, axis=1)[:, :5], atol=1e-5)
        assert (ids == np.argsort(-wanted, axis=1)[:, :5]).mean() > 0.999  # rounding may swap equals
        once, _ = MemoryIndex.search(index, world.queries, 5, recall=0, hubness=0)
        assert (once == np.argsort(-world.scores(0, 0), axis=1)[:, :5]).mean() > 0.999


@pytest.mark.parametrize("name", ["flat", "ers"])
def test_at_strength_zero_the_order_is_the_plain_one(world: World, name: str) -> None:
    memory, plain = MemoryIndex(make_index(name), world.memory, recall=0, hubness=0), make_index(name)
    for index in (memory, plain):
        index.build(world.vectors, np.arange(len(world.vectors)))
        if name == "ers":
            getattr(index, "engine", index).refine = len(world.vectors)
    ids, scores = memory.search(world.queries, 10)
    wanted, plain_scores = plain.search(world.queries, 10)
    np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_allclose(scores, plain_scores, atol=1e-6)


def test_an_empty_memory_is_a_plain_index(world: World) -> None:
    index = MemoryIndex(ErsIndex(refine=300), KnownPairs.empty(WIDTH))
    index.build(world.vectors[:300], np.arange(300))
    ids, _ = index.search(world.queries, 3)
    np.testing.assert_array_equal(ids, np.argsort(-(world.queries @ world.vectors[:300].T), axis=1)[:, :3])


def test_changes_carry_their_hubness(world: World) -> None:
    index = MemoryIndex(ErsIndex(beam=1000, refine=10_000), world.memory)
    sizes = np.arange(3000.0)
    index.build(world.vectors[:1000], np.arange(1000), {"size": sizes[:1000]})
    index.add(world.vectors[1000:2000], np.arange(1000, 2000), {"size": sizes[1000:2000]})
    index.update(world.vectors[2000:2010], np.arange(10))
    index.update(None, np.arange(10), {"size": np.full(10, -1.0)})
    index.upsert(world.vectors[2010:2030], np.arange(1990, 2010), {"size": sizes[1990:2010]})
    index.remove(np.arange(500, 600))
    assert len(index) == 1910
    assert 550 not in index
    assert 2009 in index
    now = world.vectors[:2010].copy()
    now[:10], now[1990:2010] = world.vectors[2000:2010], world.vectors[2010:2030]
    wanted = world.scores(1, 1, now)
    wanted[:, 500:600] = -np.inf
    _ids, scores = index.search(world.queries, 5)
    np.testing.assert_allclose(scores, -np.sort(-wanted, axis=1)[:, :5], atol=1e-5)
    vectors, metadata = index.get(np.array([3, 2009, 700]))
    np.testing.assert_array_equal(vectors, now[[3, 2009, 700]])
    assert metadata["size"].tolist() == [-1, 2009, 700]
    few, _ = index.search(world.queries, 3, where={"size": -1.0})
    assert (few < 10).all()


def test_a_reranker_and_search_settings_are_passed_on(world: World) -> None:
    index = MemoryIndex(ErsIndex(), world.memory)
    index.build(world.vectors, np.arange(len(world.vectors)))

    def largest(query_rows: np.ndarray, candidate_ids: np.ndarray) -> np.ndarray:
        assert len(query_rows) == len(world.queries)
        return candidate_ids.astype(np.float32)

    ids, scores = index.search(world.queries, 3, reranker=largest, rerank=20, beam=30)
    np.testing.assert_array_equal(scores, ids)
    assert (np.diff(ids, axis=1) <= 0).all()


def test_what_users_confirmed_ranks_higher_for_a_similar_query(world: World) -> None:
    index = MemoryIndex(ErsIndex(refine=3000), KnownPairs(world.memory.keys, world.memory.values))
    index.build(world.vectors, np.arange(len(world.vectors)))
    asked = spread(7, 1)[0]
    alike = unit(asked + 0.02 * spread(8, 1)[0])[None]
    order = index.search(alike, len(index))[0][0]
    confirmed = int(order[500])
    for learning in (False, True):
        before = int(np.flatnonzero(index.search(alike, len(index))[0][0] == confirmed)[0])
        if learning:
            index.learn()
        index.feedback(asked, confirmed)
        after = int(np.flatnonzero(index.search(alike, len(index))[0][0] == confirmed)[0])
        assert after <= before
    assert after < 20  # it was the 501st
    assert index.engine._content.statistics.total > 0  # type: ignore[attr-defined]
    np.testing.assert_array_equal(index.memory.values[-1], world.vectors[confirmed])
    far = index.search(world.queries, 1)[0]
    assert world.hits(far) > 0.5


def test_refreshing_follows_the_bank_and_leaves_out_own_pairs(world: World) -> None:
    memory = KnownPairs(world.memory.keys[:50], world.memory.values[:50])
    index = MemoryIndex(ErsIndex(refine=3000), memory)
    own = np.full((800, 1), -1)
    own[5] = 7
    index.build(world.vectors[:800], np.arange(800), leave_out=own)
    memory.add(world.memory.keys[50:], world.memory.values[50:])
    index.feedback(world.queries[0], 11)
    moved = index.refresh()
    assert 700 < moved <= 800
    assert index.refresh() == 0
    places = np.concatenate([own, np.full((800, 1), -1)], axis=1)
    places[11, 1] = len(memory) - 1
    hubness = memory.hubness(world.vectors[:800], places)
    moved_queries = world.queries + memory.recall(world.queries)
    wanted = moved_queries @ world.vectors[:800].T - hubness
    np.testing.assert_allclose(index.search(world.queries, 5)[1], -np.sort(-wanted, axis=1)[:, :5], atol=1e-5)
    index.remove(np.array([11]))
    assert index.refresh() == 0


def test_tuning_asks_what_is_known(world: World) -> None:
    index = MemoryIndex(ErsIndex(), world.memory)
    index.build(world.vectors, np.arange(len(world.vectors)))
    index.tune(0.9)
    wanted = np.argsort(-world.scores(1, 1), axis=1)[:, :10]
    assert overlap(index.search(world.queries, 10)[0], wanted) > 0.85


def test_a_saved_index_is_the_same_and_goes_on(world: World, tmp_path: Path) -> None:
    index = MemoryIndex(
        ErsIndex(), KnownPairs(world.memory.keys, world.memory.values), recall=0.8, hubness=1.2
    )
    own = np.full((500, 2), -1)
    own[3] = 4, 9
    index.build(world.vectors[:500], np.arange(500), {"part": ["a", "b"] * 250}, leave_out=own)
    index.feedback(world.queries[0], 3)
    index.save(tmp_path / "index")
    again = MemoryIndex.load(tmp_path / "index", backend="auto")
    assert (again.recall, again.hubness, len(again.memory)) == (0.8, 1.2, len(index.memory))
    for settings in ({}, {"where": {"part": "b"}}):
        for mine, theirs in zip(
            index.search(world.queries, 5, **settings),
            again.search(world.queries, 5, **settings),
            strict=True,
        ):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    again.add(world.vectors[500:600], np.arange(500, 600), {"part": ["c"] * 100})
    again.save(tmp_path / "index")  # over the files that it has mapped
    third = MemoryIndex.load(tmp_path / "index")
    assert len(third) == 600
    assert 0 < third.refresh() <= 500  # the later ones know of what was confirmed
    assert third.refresh() == 0
    file = next((tmp_path / "index").glob("data-*/engine/data-*/vectors.npy"))
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"vectors.npy is damaged"):
        MemoryIndex.load(tmp_path / "index")
    plain = ErsIndex()
    plain.build(world.vectors[:20], np.arange(20))
    plain.save(tmp_path / "plain")
    with pytest.raises(ValueError, match="an index without memory"):
        MemoryIndex.load(tmp_path / "plain")
    with pytest.raises(ValueError, match="holds an index of engine 'memory', not 'ers'"):
        ErsIndex.load(tmp_path / "index", verify=False)


WRITER = """
import sys
import numpy as np
from retrieval import MemoryIndex
index = MemoryIndex.load(sys.argv[1])
draw = np.random.default_rng(0)
print("ready", flush=True)
while True:
    query = draw.normal(size=16)
    index.feedback((query / np.linalg.norm(query)).astype(np.float32), int(draw.integers(100)))
    index.save(sys.argv[1])
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_index(world: World, tmp_path: Path) -> None:
    index = MemoryIndex(ErsIndex(), KnownPairs(world.memory.keys[:20], world.memory.values[:20]))
    index.build(world.vectors[:100], np.arange(100))
    index.save(tmp_path / "index")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "index")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    sizes = [20]
    while len(set(sizes)) < 5 and process.poll() is None:  # several were saved while it was read
        opened = MemoryIndex.load(tmp_path / "index")
        sizes.append(len(opened.memory))
        assert len(opened._own) == sizes[-1] - 20
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    last = MemoryIndex.load(tmp_path / "index")
    assert sizes == sorted(sizes)
    assert len(last.memory) >= sizes[-1]
    assert sizes[-1] > 20
    last.save(tmp_path / "index")


def test_what_an_engine_cannot_do_is_said(world: World, tmp_path: Path) -> None:
    index = MemoryIndex(FlatIndex(), world.memory)
    ids = np.arange(20)
    with pytest.raises(ValueError, match="search on an empty index"):
        index.search(world.queries, 1)
    index.build(world.vectors[:20], ids)
    for ask, words in (
        (lambda: index.add(world.vectors[:1], ids[:1]), "the engine flat has no add: take ers"),
        (lambda: index.feedback(world.queries[0], 1), "has no get"),
        (lambda: index.refresh(), "has no get"),
        (lambda: index.save(tmp_path / "x"), "has no save"),
        (lambda: index.search(world.queries[:, :3], 1), "queries of width 3"),
        (lambda: index.search(world.queries, 1, recall=-1), "recall=-1: expected a number from 0"),
        (lambda: setattr(index, "hubness", float("inf")), "hubness=inf"),
        (lambda: index.build(world.vectors[:2], ids[:2], leave_out=np.array([[0]])), "leave_out of shape"),
        (
            lambda: index.build(world.vectors[:2, :3], ids[:2]),
            "vectors of width 3: the known pairs have width 16",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            ask()
    assert len(index) == 20
    assert not (tmp_path / "x").exists()
    ers = MemoryIndex(ErsIndex(), world.memory)
    ers.build(world.vectors[:20], ids)
    for ask, words in (
        (lambda: ers.add(world.vectors[:1], ids[:1]), "add of id 0: the index has it"),
        (lambda: ers.feedback(world.queries[0], 99), "get of id 99: the index has no such id"),
        (lambda: ers.feedback(world.queries[0] * 0, 1), "query: row 0 is zero"),
        (lambda: ers.update(None, ids[:1], leave_out=np.array([[0]])), "leave_out without vectors"),
        (
            lambda: ers.upsert(world.vectors[:2], ids[:2], leave_out=np.array([[0], [9999]])),
            "leave_out from 0",
        ),
        (lambda: ers.remove(np.array([99])), "remove of id 99"),
    ):
        with pytest.raises(ValueError, match=words):
            ask()
    assert len(ers.memory) == len(world.memory)
