"""The strongest rivals: settings that their authors recommend, what they refuse, a processor that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval import FlatIndex, MissingEngineError, Retriever, make_index
from retrieval.benchmark.synthetic import MIXTURES, queries_of, vectors_of
from retrieval.engines import search_params_of, svs, vamana

COUNT, WIDTH = 4_000, 64


def made(name: str, **settings: object) -> Retriever:
    try:
        return make_index(name, **settings)
    except MissingEngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of the harder mixture, queries, and the exact ten nearest of each."""
    recipe = MIXTURES["harder"]
    vectors = np.concatenate(list(vectors_of(recipe, COUNT, 0)))[:, :WIDTH]
    queries = queries_of(recipe, COUNT, 200, 0).vectors[:, :WIDTH]
    vectors, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors, queries))
    exact = FlatIndex()
    exact.build(vectors, np.arange(COUNT))
    return vectors, queries, exact.search(queries, 10)[0]


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((found[:, :, None] == wanted[:, None, :]).any(1).mean())


@pytest.mark.parametrize(
    ("name", "settings", "least"),
    [
        ("symphonyqg", {}, 0.995),
        ("symphonyqg", {"ef_construction": 400}, 0.995),
        ("symphonyqg", {"max_degree": 64}, 0.995),
        ("symphonyqg", {"bits": 8}, 0.98),
        ("ivf_rabitq", {}, 0.98),
        ("ivf_rabitq", {"bits": 7}, 0.96),
        ("ivf_rabitq", {"bits": 32}, 0.995),
        ("ivf_rabitq", {"nlist": 20}, 0.98),  # fewer than its graph over centroids takes
        ("scann_soar", {}, 0.995),
        ("scann", {"soar_lambda": 1.0}, 0.995),
        ("scann", {"quantize_centroids": True}, 0.99),
        ("scann", {"reorder_type": "bfloat16"}, 0.97),
        ("scann", {"reorder_type": "int8"}, 0.97),
        ("svs", {}, 0.99),
        ("svs", {"storage": "float32", "graph_degree": 32}, 0.995),
    ],
)
def test_recommended_settings_reach_high_recall(name, settings, least, world):
    vectors, queries, wanted = world
    engine = made(name, **settings)
    engine.build(vectors, np.arange(COUNT))
    for param, values in search_params_of(engine).items():
        setattr(engine, param, values[-1])
    assert recall(engine.search(queries, 10)[0], wanted) >= least


def test_a_second_leaf_helps_at_equal_leaves(world):
    vectors, queries, wanted = world
    found = {}
    for name in ("scann", "scann_soar"):
        engine = made(name, leaves_to_search=8, reorder=250)
        engine.build(vectors, np.arange(COUNT))
        found[name] = recall(engine.search(queries, 10)[0], wanted)
    assert found["scann_soar"] > found["scann"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("symphonyqg", {"max_degree": 48}, "max_degree=48: expected a multiple of 32"),
        ("symphonyqg", {"bits": 5}, "bits=5: expected 0 .raw vectors., 8 or 4"),
        ("ivf_rabitq", {"bits": 16}, r"bits=16: expected 1 to 9, or 32 \(raw vectors\)"),
        ("scann", {"reorder_type": "float16"}, "reorder_type=float16: expected one of float32"),
        ("scann_soar", {"soar_lambda": -1}, "soar_lambda=-1: expected a number from 0"),
        ("svs", {"storage": "lvq2"}, "storage=lvq2: expected auto, float32, float16, lvq4x4"),
        ("svs", {"graph_degree": 1}, "graph_degree=1: expected at least 2"),
    ],
)
def test_wrong_settings_are_named(name, settings, message):
    made(name)
    with pytest.raises(ValueError, match=message):
        make_index(name, **settings)


@pytest.mark.parametrize("name", ["symphonyqg", "ivf_rabitq"])
def test_vectors_of_several_lengths_are_refused(name, world):
    engine = made(name)
    vectors = world[0].copy()
    vectors[7] *= 1.5
    with pytest.raises(ValueError, match=rf"{name}: vectors\[7\] has length 1.5, others 1: .*normalize"):
        engine.build(vectors, np.arange(COUNT))
    assert len(engine) == 0


def test_svs_ranks_vectors_of_several_lengths_by_inner_product():
    engine = made("svs", storage="float32", window=1024)
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(900, 24)).astype(np.float32) * draw.uniform(1, 50, (900, 1)).astype(
        np.float32
    )
    queries = draw.normal(size=(50, 24)).astype(np.float32)
    engine.build(vectors, np.arange(900))
    ids, scores = engine.search(queries, 5)
    products = queries @ vectors.T
    assert recall(ids, np.argsort(-products, axis=1)[:, :5]) >= 0.98
    np.testing.assert_allclose(scores, np.take_along_axis(products, ids, 1), rtol=1e-4)


@pytest.mark.parametrize("name", ["symphonyqg", "ivf_rabitq", "scann_soar", "svs"])
def test_copies_of_a_vector_end_nothing(name):
    engine = made(name)
    vectors = np.repeat(np.eye(64, dtype=np.float32)[:3], 500, axis=0)
    engine.build(vectors, np.arange(1500))
    ids, scores = engine.search(vectors[:2], 10)
    assert ids.shape == (2, 10)
    assert (np.isfinite(scores) == (ids >= 0)).all()


def test_no_more_vectors_than_links_are_all_compared():
    engine = made("symphonyqg", ef=10)
    vectors = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    engine.build(vectors, 5 + np.arange(32))
    ids, _ = engine.search(vectors, 32)
    assert (np.sort(ids, axis=1) == 5 + np.arange(32)).all()
    assert engine.resident_bytes() == vectors.nbytes
    more = np.concatenate([vectors, -vectors])
    engine.build(more, np.arange(64))  # a graph again
    assert engine.resident_bytes() > more.nbytes
    assert (engine.search(more, 1)[0][:, 0] == np.arange(64)).all()


def test_codes_that_the_processor_cannot_run_are_a_line_or_run(world):
    """Here and on every machine: the process goes on."""
    made("svs")
    vectors, queries, wanted = world
    try:
        engine = make_index("svs", storage="lvq4x8", window=512)
    except MissingEngineError as error:
        line = str(error)
        assert line.startswith("engine svs cannot run on this CPU with storage=lvq4x8 (")
        assert line.endswith("; take storage=float16")
        assert "\n" not in line
        assert make_index("svs").storage == "float16"
        return
    engine.build(vectors, np.arange(COUNT))
    assert recall(engine.search(queries, 10)[0], wanted) >= 0.97


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """A trial that runs the given program instead."""
    made("svs")
    program = tmp_path / "trial.py"
    program.write_text(request.param)
    monkeypatch.setattr(vamana, "__file__", str(program))
    svs._complaint.cache_clear()
    yield
    svs._complaint.cache_clear()


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "engine svs cannot run on this CPU with storage=float16 (it ends the process by SIGILL)",
        ),
        (
            "import sys; print('not this one', file=sys.stderr); sys.exit(1)",
            "engine svs cannot run on this CPU with storage=float16 (not this one)",
        ),
        (
            "import os; os._exit(3)",
            "engine svs cannot run on this CPU with storage=float16 (it ends the process with code 3)",
        ),
        (
            "import a_module_that_is_not_there",
            "engine svs cannot run with storage=float16 "
            "(ModuleNotFoundError: No module named 'a_module_that_is_not_there')",
        ),
    ],
    indirect=["ended"],
)
def test_a_trial_that_ends_its_process_is_told(ended, message):
    with pytest.raises(MissingEngineError) as raised:
        make_index("svs")
    assert str(raised.value) == message


@pytest.mark.parametrize("ended", ["import time; time.sleep(60)"], indirect=True)
def test_a_trial_that_hangs_is_told(ended, monkeypatch):
    monkeypatch.setattr(svs, "PATIENCE", 0.5)
    with pytest.raises(MissingEngineError, match=r"\(a trial took more than 0\.5 s\)"):
        make_index("svs", storage="float32")
