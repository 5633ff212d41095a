"""Every installed engine keeps one contract; those that are not installed say what to type."""

from __future__ import annotations

import importlib
import sys
import time

import faiss
import numpy as np
import pytest

from retrieval import FlatIndex, Retriever
from retrieval.engines import ENGINES, MissingEngineError, make_index, register_engine, search_params_of
from retrieval.engines.base import cells_for, saved_bytes

RIVALS = [name for name in ENGINES if name != "ers"]
WIDTH = 32


def make(name: str, **settings: object) -> Retriever:
    try:
        return make_index(name, **settings)
    except MissingEngineError as error:
        pytest.skip(str(error))


def clustered(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, WIDTH))
    x = centers[rng.integers(0, 40, count)] + 0.6 * rng.normal(size=(count, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    vectors = clustered(5_000)
    return vectors, np.random.default_rng(1).permutation(50_000)[: len(vectors)].astype(np.int64)


@pytest.fixture(scope="module", params=RIVALS)
def built(request: pytest.FixtureRequest, data: tuple[np.ndarray, np.ndarray]) -> Retriever:
    engine = make(request.param)
    engine.build(*data)
    return engine


def test_generous_search_params_find_the_exact_neighbors(built, data):
    vectors, ids = data
    queries = clustered(100, seed=2)
    exact = FlatIndex()
    exact.build(vectors, ids)
    right, right_scores = exact.search(queries, 10)
    for param, values in search_params_of(built).items():
        setattr(built, param, values[-1])
    found, scores = built.search(queries, 10)
    overlap = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, right, strict=True)])
    assert overlap >= 0.98
    np.testing.assert_allclose(scores[:, 0], right_scores[:, 0], atol=0.02)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_a_vector_finds_itself(built, data):
    vectors, ids = data
    for param, values in search_params_of(built).items():
        setattr(built, param, values[-1])
    found, scores = built.search(vectors[:200], 1)
    assert (found[:, 0] == ids[:200]).mean() >= 0.99
    np.testing.assert_allclose(scores[found[:, 0] == ids[:200]], 1.0, atol=0.02)


def test_the_search_params_trade_recall(built, data):
    search_params = search_params_of(built)
    if not search_params:
        return
    queries, (vectors, ids) = clustered(100, seed=3), data
    right = ids[np.argsort(-(queries @ vectors.T), axis=1)[:, :10]]
    overlaps = []
    for end in (0, -1):
        for param, values in search_params.items():
            setattr(built, param, values[end])
        found, _ = built.search(queries, 10)
        overlaps.append(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, right, strict=True)]))
    assert overlaps[0] < overlaps[1]


def test_one_query_gets_the_answer_of_a_batch(built, data):
    for param, values in search_params_of(built).items():
        setattr(built, param, values[-1])
    queries = clustered(20, seed=4)
    batch, _ = built.search(queries, 5)
    single = np.concatenate([built.search(query[None], 5)[0] for query in queries])
    assert (batch == single).mean() >= 0.98  # sums in another order may swap near ties


def test_sizes_are_counted(built, data):
    assert built.resident_bytes() >= len(data[0]) * WIDTH / 4


@pytest.mark.parametrize("name", RIVALS)
def test_more_threads_give_the_same_answers(name, data):
    found = []
    for threads in (1, 2):
        engine = make(name, threads=threads)
        engine.build(*data)
        for param, values in search_params_of(engine).items():
            setattr(engine, param, values[-1])
        found.append(engine.search(data[0][:300], 5)[0])
    assert (found[0] == found[1]).mean() >= 0.97  # a graph built by two threads is another graph


@pytest.mark.parametrize("name", RIVALS)
def test_one_thread_is_one_thread(name):
    """Engines are compared with equal threads: processor time beyond the clock's would be another's."""
    engine, vectors = make(name), clustered(20_000)
    queries = np.tile(vectors[:2_000], (4, 1))
    for param, values in search_params_of(engine).items():
        setattr(engine, param, values[len(values) // 2])
    works = [lambda: engine.build(vectors, np.arange(len(vectors))), lambda: engine.search(queries, 10)]
    for work in works:
        clock, processor = time.perf_counter(), time.process_time()
        work()
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        assert processor <= 1.1 * clock + 0.05


def test_a_missing_library_says_what_to_type(monkeypatch):
    def absent(name: str) -> object:
        if name.split(".")[0] in ("hnswlib", "usearch", "scann", "rabitqlib", "svs", "diskannpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", absent)
    optional = ("hnswlib", "usearch", "scann", "scann_soar", "symphonyqg", "ivf_rabitq", "svs", "diskann")
    for name in optional:
        with pytest.raises(MissingEngineError, match=f"{name}: .*pip install"):
            make_index(name)


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="faiss is built for GPUs here")
@pytest.mark.parametrize("name", ["flat_gpu", "ivf_gpu"])
def test_a_faiss_for_cpus_says_what_to_type(name):
    with pytest.raises(MissingEngineError, match=f"{name}: .*built for CPUs here; .*pip install faiss-gpu"):
        make_index(name)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hnws", {}, "did you mean hnsw"),
        ("ivf", {"nprob": 3}, "did you mean nprobe"),
        ("ivf", {"threads": 0}, "threads=0: expected at least 1"),
        ("ivf", {"threads": 1.5}, "threads=1.5: expected a whole number"),
        ("ivf", {"threads": 1_000_000}, "threads=1000000: expected at most"),
        ("flat", {"threads": 1_000_000}, "threads=1000000: expected at most"),
        ("ivf", {"nprobe": 2.5}, "nprobe=2.5: expected a whole number"),
        ("ivfpq", {"refine": 0}, "refine=0: expected at least 1"),
        ("hnsw", {"efSearch": True}, "efSearch=True: expected a whole number"),
        ("hnsw", {"M": 2**40}, "M=1099511627776: expected at most"),
        ("ivf", {"codes": "sq4"}, "codes=sq4: expected flat or sq8"),
    ],
)
def test_mistakes_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        make_index(name, **settings)


@pytest.mark.parametrize("name", RIVALS)
def test_search_params_are_checked_when_they_are_turned(name):
    engine = make(name)
    for param, values in {**search_params_of(engine), "threads": (1,)}.items():
        for wrong in (0, 2.5, "x"):
            with pytest.raises(ValueError, match=f"{param}={wrong!r}: expected"):
                setattr(engine, param, wrong)
        setattr(engine, param, values[0])


def test_a_width_that_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match="divisor of 7"):
        make_index("ivfpq", m=3).build(np.eye(7, dtype=np.float32), np.arange(7))


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("width", [2, 3, 7])
def test_any_width_will_do(name, width):
    engine = make(name)
    vectors = np.random.default_rng(0).normal(size=(300, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    engine.build(vectors, np.arange(300))
    assert (engine.search(vectors[:20], 1)[1] > 0.99).all()


def test_flat_cells_keep_exact_scores(data):
    engine = make_index("ivf", codes="flat", nprobe=256)
    engine.build(*data)
    queries = clustered(10, seed=5)
    _, scores = engine.search(queries, 1)
    np.testing.assert_allclose(scores[:, 0], (queries @ data[0].T).max(1), atol=1e-5)


def test_cells_grow_with_the_root():
    assert [cells_for(n) for n in (1, 5, 100, 20_000, 1_000_000)] == [1, 5, 32, 512, 4096]


def test_written_bytes_are_counted_whole(data):
    import faiss

    engine = make_index("ivf")
    engine.build(*data)
    assert saved_bytes(engine._index) == len(faiss.serialize_index(engine._index))


def test_a_registered_engine_is_made_by_name(monkeypatch):
    monkeypatch.setitem(ENGINES, "mine", ("x", "x"))
    monkeypatch.delitem(ENGINES, "mine")

    class Mine(FlatIndex):
        pass

    monkeypatch.setattr(sys.modules[__name__], "Mine", Mine, raising=False)
    Mine.__qualname__ = "Mine"
    register_engine("mine")(Mine)
    assert isinstance(make_index("mine", threads=1), Mine)
    assert make_index("mine").name == "mine"
    assert register_engine("mine")(Mine) is Mine  # again, as a module that is loaded again does


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("flat", FlatIndex, "flat: .*FlatIndex has this name"),
        ("mine", dict, r"mine: dict has no build\(\)"),
    ],
)
def test_what_cannot_be_registered_is_named(name, kind, message):
    with pytest.raises(ValueError, match=message):
        register_engine(name)(type("Other", (), {}) if kind is FlatIndex else kind)
    assert "mine" not in ENGINES
