"""Equal answers of an index in shards and of one index, whatever happened to both."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import Between, ErsIndex, KnownPairs, MemoryIndex, ShardedIndex
from retrieval.sharding.partition import By

WIDTH, EVERYTHING = 8, 10**6
WAYS: list[By] = ["tree", "hash"]
STEPS = ["add", "remove", "update", "upsert", "metadata", "feedback"]
NAMES = ["chair", "table", "stool"]


def mixture(seed: int, rows: int, *, lengths: bool = False, copies: bool = False) -> np.ndarray:
    """Vectors in clusters, of any length or of one, some of them equal."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(1 + rows // 20, WIDTH))
    vectors = kinds[rng.integers(0, len(kinds), rows)] + 0.3 * rng.normal(size=(rows, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if lengths:
        vectors *= rng.lognormal(0, 0.7, size=(rows, 1))
    if copies:
        vectors = vectors[rng.integers(0, 1 + rows // 3, rows)]
    return vectors.astype(np.float32)


def columns(seed: int, rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"name": [NAMES[n] for n in rng.integers(0, 3, rows)], "size": rng.integers(0, 9, rows)}


def assert_alike(one: ErsIndex, shards: ShardedIndex, seed: int) -> None:
    """Ids and scores, bit by bit, ties too, with every leaf visited; and what each holds."""
    ids, queries = one.ids, mixture(seed, 9, lengths=True)
    assert len(shards) == len(one) == sum(shards.counts)
    np.testing.assert_array_equal(shards.ids, ids)
    if not len(ids):
        return
    own, known = one.get(ids)
    theirs, found = shards.get(ids)
    np.testing.assert_array_equal(own, theirs)
    for name, values in known.items():
        assert values.tolist() == found[name].tolist()
    queries = np.concatenate([queries, own[:3]])
    for where in (None, {"name": "chair"}, {"name": ["table", "stool"], "size": Between(2, 6)}):
        for k in {1, min(7, len(ids)), len(ids)}:
            expected = one.search(queries, k, refine=EVERYTHING, where=where)
            np.testing.assert_array_equal(shards.search(queries, k, refine=EVERYTHING, where=where), expected)


@settings(max_examples=25, deadline=None)
@given(
    by=st.sampled_from(WAYS),
    shards=st.integers(1, 5),
    rows=st.integers(1, 150),
    metric=st.sampled_from(["ip", "cosine"]),
    precision=st.sampled_from(["float32", "float16"]),
    lengths=st.booleans(),
    copies=st.booleans(),
    seed=st.integers(0, 1000),
    steps=st.lists(
        st.sampled_from(["add", "remove", "update", "upsert", "metadata", "feedback"]), max_size=5
    ),
)
def test_answers_are_those_of_one_index_after_any_history(
    by: By,
    shards: int,
    rows: int,
    metric: Any,
    precision: Any,
    lengths: bool,
    copies: bool,
    seed: int,
    steps: list[str],
) -> None:
    rng = np.random.default_rng(seed)
    one = ErsIndex(metric=metric, precision=precision)
    many = ShardedIndex(shards, by=by, metric=metric, precision=precision)
    ids = rng.permutation(1000)[:rows]
    content = mixture(seed, rows, lengths=lengths, copies=copies), ids, columns(seed, rows)
    with many:
        for index in (one, many):
            index.build(*content)
            index.learn()
        for number, step in enumerate(steps):
            count = int(rng.integers(1, 30))
            vectors = mixture(seed + number + 1, count, lengths=lengths, copies=copies)
            new = 1000 + 100 * number + rng.permutation(100)[:count]
            known = rng.permutation(one.ids)[:count]
            fresh = columns(number, count)
            for index in (one, many):
                if step == "add":
                    index.add(vectors, new, fresh)
                elif step == "remove":
                    index.remove(known)
                elif step == "upsert":
                    index.upsert(vectors, np.concatenate([known, new])[:count], fresh)
                elif len(known) and step == "update":  # those that move take their metadata along
                    index.update(vectors[: len(known)], known, {"size": fresh["size"][: len(known)]})
                elif len(known) and step == "metadata":
                    index.update(None, known, {"name": fresh["name"][: len(known)]})
                elif len(known):
                    index.feedback(vectors[0], int(known[0]))
        assert_alike(one, many, seed)


@pytest.mark.parametrize("by", WAYS)
def test_what_one_index_refuses_is_refused_alike_and_changes_nothing(by: By) -> None:
    one, many = ErsIndex(), ShardedIndex(3, by=by)
    for index in (one, many):
        index.build(mixture(0, 60), np.arange(60), columns(0, 60))
    vectors, fresh = mixture(1, 2), columns(1, 2)
    new, old = np.array([100, 101]), np.array([3, 101])
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("add", (vectors, old, fresh)),
        ("add", (vectors, new, {"name": ["a", "b"]})),
        ("add", (vectors, new, fresh | {"size": ["a", "b"]})),
        ("add", (vectors, new, fresh | {"color": [1, 2]})),
        ("add", (vectors * 0, new, fresh)),
        ("add", (vectors[:, :3], new, fresh)),
        ("update", (vectors, old, None)),
        ("upsert", (vectors, old, {"size": [1, 2]})),
        ("remove", (old,)),
        ("get", (old,)),
        ("feedback", (vectors[0], 3)),
        ("search", (vectors, 61)),
    ]
    for name, arguments in changes:
        with pytest.raises(ValueError) as of_one:  # noqa: PT011  # the message is compared below
            getattr(one, name)(*arguments)
        with pytest.raises(ValueError) as of_many:  # noqa: PT011
            getattr(many, name)(*arguments)
        assert str(of_many.value) == str(of_one.value)
    for where in ({"color": 1}, {"name": 1}, {"name": Between(1, 2)}, "chair"):
        with pytest.raises(ValueError) as of_one:  # noqa: PT011
            one.search(vectors, 1, where=where)
        with pytest.raises(ValueError) as of_many:  # noqa: PT011
            many.search(vectors, 1, where=where)
        assert str(of_many.value) == str(of_one.value)
    assert_alike(one, many, 0)


def test_the_descent_asks_few_shards_and_finds_what_one_index_does() -> None:
    vectors = mixture(3, 6000)
    one, many = ErsIndex(), ShardedIndex(6)
    for index in (one, many):
        index.build(vectors, np.arange(6000))
    assert max(many.counts) <= 1.2 * 1000
    queries = vectors[:300] + np.float32(0.02) * mixture(4, 300)
    exact = one.search(queries, 10, refine=EVERYTHING)[0]
    of_one, of_many = one.search(queries, 10, beam=4)[0], many.search(queries, 10, beam=4)[0]
    shares = [
        np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]) / 10
        for found in (of_one, of_many)
    ]
    assert shares[1] >= shares[0]
    assert many.shards_asked < 4
    np.testing.assert_array_equal(many.search(queries, 10, refine=EVERYTHING)[0], exact)


def test_bounds_skip_shards_that_cannot_contribute_and_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(rng.normal(size=(40, WIDTH)), 50, axis=0)
    vectors = (kinds + 0.03 * rng.normal(size=kinds.shape)).astype(np.float32)
    one, many = ErsIndex(), ShardedIndex(8)
    for index in (one, many):
        index.build(vectors, np.arange(len(vectors)))
    queries = vectors[::20]
    for k in (1, 10, 50):
        expected = one.search(queries, k, refine=EVERYTHING)
        np.testing.assert_array_equal(many.search(queries, k, refine=EVERYTHING), expected)
    assert many.shards_asked < 3
    for k in (1, 10):  # what comes outside of all bounds is found all the same
        far = -10 * vectors[7 * k : 7 * k + 20]
        for index in (one, many):
            index.add(far, 10_000 + 100 * k + np.arange(20))
        expected = one.search(-queries, k, refine=EVERYTHING)
        np.testing.assert_array_equal(many.search(-queries, k, refine=EVERYTHING), expected)


def test_a_reranker_sees_the_best_of_all_shards() -> None:
    vectors = mixture(5, 200)
    one, many = ErsIndex(), ShardedIndex(3, by="hash")
    for index in (one, many):
        index.build(vectors, np.arange(200))

    def reranker(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return -(ids % 17).astype(np.float32)

    expected = one.search(vectors[:4], 5, reranker=reranker, rerank=40, refine=200)
    np.testing.assert_array_equal(
        many.search(vectors[:4], 5, reranker=reranker, rerank=40, refine=200), expected
    )


@pytest.mark.parametrize("by", WAYS)
def test_a_memory_around_shards_recalls_and_counts_hubness_as_around_one(by: By, tmp_path: Any) -> None:
    shapes, texts = mixture(6, 400), mixture(7, 400)
    found = []
    for engine in (ErsIndex(), ShardedIndex(3, by=by)):
        index = MemoryIndex(engine, KnownPairs(texts[:100], shapes[:100]), recall=0.7, hubness=0.6)
        index.build(shapes, np.arange(400), columns(0, 400), leave_out=np.r_[:100, [-1] * 300][:, None])
        index.add(shapes[:2] + np.float32(0.1), np.array([900, 901]), columns(1, 2))
        index.feedback(texts[200], 17)
        index.refresh()
        index.remove(np.array([3, 5]))
        index.save(tmp_path / engine.name)
        for own in (index, MemoryIndex.load(tmp_path / engine.name)):
            found.append(own.search(texts[:50], 9, refine=EVERYTHING, where={"name": ["chair", "stool"]}))
    for own in found[1:]:
        np.testing.assert_array_equal(own, found[0])


def test_settings_reach_the_shards_and_wrong_ones_are_refused(tmp_path: Any) -> None:
    index = ShardedIndex(2, recall=0.9, seed=3)
    index.build(mixture(8, 2000), np.arange(2000))
    assert (index.beam, index.refine) != (16, 100)
    index.save(tmp_path / "tuned")
    again = ShardedIndex.load(tmp_path / "tuned", replicas=2)
    assert (again.beam, again.refine, again.live) == (index.beam, index.refine, [2, 2])
    for wrong, message in (
        ({"by": "size"}, "by='size': expected one of tree, hash"),
        ({"place": "moon"}, "place='moon': expected one of thread, process, ray"),
        ({"replicas": 0}, "replicas=0: expected at least 1"),
        ({"patience": -1}, "patience=-1"),
        ({"bem": 3}, "bem"),
        ({"metric": "l2"}, "metric='l2': expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            ShardedIndex(2, **wrong)  # type: ignore[arg-type]
