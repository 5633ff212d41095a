"""An index after any history of changes against one that is built of the same content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from retrieval import ErsIndex, FlatIndex, KnownPairs, MemoryIndex
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.inverted_lists import CODECS, Codec
from retrieval.ers.maintenance import MOVES
from retrieval.ers.relisting import plain_codes
from retrieval.ers.restructuring import carried, restructure
from retrieval.ers.serialization import write_parts
from retrieval.storage import save_folder

WIDTH, KINDS = 32, 200
CENTERS = np.random.default_rng(0).normal(size=(KINDS, WIDTH))


def drawn(seed: int, rows: int, low: int = 0, high: int = KINDS) -> np.ndarray:
    """Unit vectors around some of the centers."""
    rng = np.random.default_rng(seed)
    unit = CENTERS / np.linalg.norm(CENTERS, axis=1, keepdims=True)
    x = unit[rng.integers(low, high, rows)] + 0.12 * rng.normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def recall(index: ErsIndex, vectors: np.ndarray, ids: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    flat = FlatIndex()
    flat.build(vectors, ids)
    exact, found = flat.search(queries, k)[0], index.search(queries, k)[0]
    assert (found >= 0).all()
    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))


def compared(
    index: ErsIndex, vectors: np.ndarray, ids: np.ndarray, queries: np.ndarray
) -> tuple[float, float]:
    """Recall of the index, and of one that is built of its content."""
    fresh = ErsIndex(beam=index.beam, codec=index._recipe.codec)
    fresh.build(vectors, ids)
    return recall(index, vectors, ids, queries), recall(fresh, vectors, ids, queries)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("first", "step"), [(1, 9000), (1, 300), (500, 250), (1000, 9000)])
def test_growth_costs_no_recall(first: int, step: int, codec: Codec) -> None:
    vectors, ids = drawn(1, 10_000), np.arange(10_000)
    index = ErsIndex(beam=8, codec=codec)
    index.build(vectors[:first], ids[:first])
    for at in range(first, 10_000, step):
        index.add(vectors[at : at + step], ids[at : at + step])
    maintained, fresh = compared(index, vectors, ids, drawn(2, 500))
    assert fresh > 0.9
    assert maintained > fresh - 0.015


@pytest.mark.parametrize("step", [200, 9000])
def test_content_of_other_kinds_costs_no_recall(step: int) -> None:
    vectors, ids = np.concatenate([drawn(1, 1000, 0, 20), drawn(2, 9000, 20)]), np.arange(10_000)
    index, still = ErsIndex(beam=8), ErsIndex(beam=8, maintain=False)
    for one in (index, still):
        one.build(vectors[:1000], ids[:1000])
        for at in range(1000, 10_000, step):
            one.add(vectors[at : at + step], ids[at : at + step])
    queries = drawn(3, 500, 20)
    maintained, fresh = compared(index, vectors, ids, queries)
    assert maintained > fresh - 0.01
    assert recall(still, vectors, ids, queries) < fresh - 0.1  # what maintenance is for
    assert still.health().owes
    assert still.health().restructured == 0
    still.rebuild()
    assert recall(still, vectors, ids, queries) == pytest.approx(fresh)
    assert still.health().rebuilt == 1
    assert not still.health().changed


@pytest.mark.parametrize("step", [60, 2000])
def test_vectors_that_are_all_exchanged_cost_no_recall(step: int) -> None:
    ids, other = np.arange(2000), drawn(2, 2000, 100, 140)
    index = ErsIndex(beam=8)
    index.build(drawn(1, 2000, 0, 40), ids)
    for at in range(0, 2000, step):
        index.update(other[at : at + step], ids[at : at + step])
    maintained, fresh = compared(index, other, ids, drawn(3, 500, 100, 140))
    assert maintained > fresh - 0.01


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97, 0.995])
@pytest.mark.parametrize("steps", [1, 30])
def test_removals_cost_no_recall(share: float, steps: int) -> None:
    vectors, rng = drawn(1, 10_000), np.random.default_rng(4)
    gone = rng.permutation(10_000)[: round(10_000 * share)]
    index = ErsIndex(beam=8)
    index.build(vectors, np.arange(10_000))
    for some in np.array_split(gone, steps):
        index.remove(some)
    ids = index.ids
    maintained, fresh = compared(index, vectors[ids], ids, drawn(2, 500))
    assert maintained > fresh - 0.015
    assert index.health().empty_leaves <= 0.05 * index.health().leaves


@settings(max_examples=8, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "update", "remove"]),
            st.integers(0, 99),
            st.sampled_from([1, 40, 400, 1500]),
            st.integers(0, KINDS - 1),
        ),
        min_size=3,
        max_size=12,
    ),
    codec=st.sampled_from(CODECS),
    depth=st.integers(1, 3),
)
def test_any_history_is_as_good_as_none(steps: list[Any], codec: Codec, depth: int) -> None:
    index = ErsIndex(codec=codec, depth=depth)
    known = dict(enumerate(drawn(0, 600)))
    index.build(np.array(list(known.values())), np.arange(600))
    for what, seed, count, kind in steps:
        new = drawn(seed, count, kind, min(kind + 30, KINDS))
        if what == "add":
            ids = np.arange(count) + max(known, default=0) + 1
            index.add(new, ids)
        else:
            ids = np.random.default_rng(seed).permutation(sorted(known))[: min(count, len(known) - 20)]
            if what == "remove":
                index.remove(ids)
                for one in ids.tolist():
                    del known[one]
                continue
            new = new[: len(ids)]
            index.update(new, ids)
        known.update(zip(ids.tolist(), new, strict=True))
    ids, vectors = np.array(sorted(known)), np.array([known[one] for one in sorted(known)])
    queries = vectors[np.random.default_rng(1).integers(0, len(vectors), 200)]
    queries = queries + 0.1 * drawn(5, 200)
    maintained, fresh = compared(index, vectors, ids, queries)
    assert maintained > fresh - 0.02
    state = index._content
    assert state is not None
    rows = state.everything()
    members = {leaf: set(state.leaves.rows_of(leaf).tolist()) for leaf in range(state.tree.leaf_count)}
    assert sum(map(len, members.values())) == len(rows)
    assert all(row in members[leaf] for row, leaf in zip(rows.tolist(), state.leaf_of_row[rows], strict=True))


@pytest.mark.parametrize("codec", CODECS)
def test_a_maintained_index_is_saved_and_goes_on_alike(tmp_path: Path, codec: Codec) -> None:
    vectors, queries = drawn(1, 6000), drawn(2, 50)

    def changed() -> ErsIndex:
        index = ErsIndex(codec=codec)
        index.build(vectors[:800], np.arange(800))
        for at in range(800, 3000, 100):
            index.add(vectors[at : at + 100], np.arange(at, at + 100))
        index.remove(np.arange(0, 2000, 3))
        return index

    index, twin = changed(), changed()
    assert index.health().restructured > 0
    np.testing.assert_array_equal(index.search(queries, 10), twin.search(queries, 10))  # the same history
    index.save(tmp_path / "index")
    again = ErsIndex.load(tmp_path / "index")
    np.testing.assert_array_equal(index.search(queries, 10), again.search(queries, 10))
    for one in (index, again):
        for at in range(3000, 6000, 150):
            one.add(vectors[at : at + 150], np.arange(at, at + 150))
    np.testing.assert_array_equal(index.search(queries, 10), again.search(queries, 10))
    ours, theirs = index.health(), again.health()
    assert (ours.restructured, ours.retrained, ours.rebuilt) == (
        theirs.restructured,
        theirs.retrained,
        theirs.rebuilt,
    )
    still = ErsIndex(maintain=False)
    still.build(vectors[:100], np.arange(100))
    still.save(tmp_path / "still")
    still = ErsIndex.load(tmp_path / "still")
    still.add(vectors[100:], np.arange(100, 6000))
    assert still.health().restructured == still.health().rebuilt == 0


def test_a_fresh_index_owes_nothing_and_maintenance_ends() -> None:
    index = ErsIndex()
    with pytest.raises(ValueError, match="health on an empty index"):
        index.health()
    with pytest.raises(ValueError, match="rebuild on an empty index"):
        index.rebuild()
    index.build(drawn(1, 3000), np.arange(3000))
    health = index.health()
    assert (health.live, health.leaves, health.wanted_leaves) == (3000, 219, 219)
    assert (health.changed, health.pending, health.seconds) == (0, 0, 0)
    assert health.owed_leaves == health.empty_leaves
    assert health.code_error == health.trained_code_error < 0.3
    index.update(drawn(2, 3000), np.arange(3000))
    before = index.health()
    assert 0 < before.longest <= before.seconds
    assert before.owes == (before.owed_leaves > 0 or before.worn)
    index.update(None, np.arange(3000), {})  # metadata alone wear nothing
    assert index.health() == before
    index.remove(np.arange(3000))
    assert index.health().live == 0
    with pytest.raises(ValueError, match="rebuild of an index without vectors"):
        index.rebuild()
    with pytest.raises(ValueError, match="maintain=1: expected True or False"):
        ErsIndex(maintain=1)  # type: ignore[arg-type]


def test_a_change_moves_a_bounded_number_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.ers import maintenance

    moved: list[int] = []

    def counted(content: Any, parts: np.ndarray, seed: int) -> Any:
        moved.append(int(content.leaves.sizes()[parts >= 0].sum()))
        return restructure(content, parts, seed)

    monkeypatch.setattr(maintenance, "restructure", counted)
    index = ErsIndex()
    index.build(drawn(1, 8000), np.arange(8000))
    for at in range(0, 4000, 200):
        index.update(drawn(2 + at, 200, 0, 30), np.arange(at, at + 200))
    assert moved
    assert sum(moved) <= MOVES * 4000


@pytest.mark.parametrize("codec", CODECS)
def test_lists_that_are_not_touched_keep_their_codes(codec: Codec) -> None:
    vectors = drawn(1, 3000)
    index = ErsIndex(codec=codec)
    index.build(vectors, np.arange(3000))
    before = index._content
    assert before is not None
    parts = np.full(before.tree.leaf_count, -1)
    largest = np.argsort(-before.leaves.sizes())[:5]
    parts[largest[:2]], parts[largest[2:4]], parts[largest[4]] = 2, 1, 0
    after = restructure(before, parts, 0)
    assert after.tree.leaf_count == before.tree.leaf_count + 1
    np.testing.assert_allclose(np.linalg.norm(after.tree.centroids[-1], axis=1), 1, atol=1e-5)
    codes = []
    for tree, leaves in ((before.tree, before.leaves), (after.tree, after.leaves)):
        found = {}
        for leaf in range(tree.leaf_count):
            for row, code in zip(leaves.rows_of(leaf).tolist(), plain_codes(leaves, leaf), strict=True):
                found[row] = (tree.centroids[-1][leaf].tobytes(), code.tobytes())
        assert sorted(found) == list(range(3000))
        codes.append(found)
    touched = np.isin(before.leaf_of_row, largest)
    same = np.array([codes[0][row] == codes[1][row] for row in range(3000)])
    assert same[~touched].mean() > 0.9  # some were drawn to the new leaves
    assert not same[touched].any()
    # What was coded anew has the code that a first filling gives it.
    error = after.leaves.error(vectors, after.leaf_of_row)
    assert error < 2.5 * before.leaves.error(vectors, before.leaf_of_row)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_tree_over_given_leaves_hangs_together(depth: int) -> None:
    leaves = drawn(1, 150)
    tree, order = SemanticHierarchy.over(leaves, depth)
    assert tree.depth == depth
    assert sorted(order) == list(range(150))
    np.testing.assert_array_equal(tree.centroids[-1], leaves[order])
    for level in range(depth):
        assert tree.first_child[level][0] == 0
        assert tree.first_child[level][-1] == len(tree.centroids[level])
        assert (np.diff(tree.first_child[level]) >= 1).all()
    for level in range(1, depth):
        for node, parent in enumerate(tree.parents(level)):
            near = tree.centroids[level - 1] @ tree.centroids[level][node]
            assert near[parent] >= near.max() - 0.3


def test_what_feedback_taught_outlives_maintenance() -> None:
    vectors = drawn(1, 2000)
    index = ErsIndex(beam=2)
    index.build(vectors, np.arange(2000))
    index.learn()
    for row in range(60):
        index.feedback(vectors[row], row % 7)
    state = index._content
    assert state is not None
    parts = np.ones(state.tree.leaf_count, np.int64)
    parts[::3] = 2
    after = restructure(state, parts, 0)
    for old, new in ((state.statistics, after.statistics),):
        assert new.total == old.total
        for level in range(2):
            assert new.successes[level].sum() == pytest.approx(old.successes[level].sum())
            assert (new.successes[level] <= new.visits[level] + 1e-9).all() or level
    same = carried(state, state.tree, state.leaf_of_row)
    for old_counts, new_counts in zip(state.statistics.successes, same.successes, strict=True):
        np.testing.assert_allclose(new_counts, old_counts)
    index.rebuild()
    assert isinstance(index._content.statistics, EdgeStatistics)  # type: ignore[union-attr]
    assert index.learning
    total = sum(counts.sum() for counts in index._content.statistics.successes)  # type: ignore[union-attr]
    assert total == pytest.approx(2 * state.statistics.total, rel=1e-6)


def test_an_index_with_memory_is_maintained_and_rebuilt() -> None:
    memory = KnownPairs(drawn(5, 50), drawn(6, 50))
    index = MemoryIndex(ErsIndex(), memory, recall=0.0, hubness=0.0)
    index.build(drawn(1, 300), np.arange(300))
    index.add(drawn(2, 5000), np.arange(300, 5300))
    assert index.health().rebuilt == 1
    index.rebuild()
    assert index.health().rebuilt == 2
    assert (index.search(drawn(2, 5000)[:50], 1)[0][:, 0] == np.arange(300, 350)).all()


def test_an_index_of_an_older_release_is_opened_and_maintained(tmp_path: Path) -> None:
    """It has neither wear nor reach in its files."""
    vectors = drawn(1, 4000)
    index = ErsIndex()
    index.build(vectors[:1000], np.arange(1000))
    index.save(tmp_path / "new")
    header = json.loads((tmp_path / "new" / "manifest.json").read_text())["header"]
    assert not {"metric", "maintain"} & set(header["settings"])  # an older release reads it too

    def write(data: Path) -> None:
        write_parts(data, index._built("write"))
        arrays = load_file(data / "tree.safetensors")
        save_file(
            {name: array for name, array in arrays.items() if not name.startswith(("wear", "reach"))},
            data / "tree.safetensors",
        )

    save_folder(tmp_path / "old", write, header)
    old = ErsIndex.load(tmp_path / "old")
    np.testing.assert_array_equal(old.search(drawn(2, 50), 10), index.search(drawn(2, 50), 10))
    for at in range(1000, 4000, 100):
        old.add(vectors[at : at + 100], np.arange(at, at + 100))
    maintained, fresh = compared(old, vectors, np.arange(4000), drawn(2, 300))
    assert maintained > fresh - 0.015
