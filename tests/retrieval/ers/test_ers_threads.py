import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from retrieval import ErsIndex
from retrieval.ers.locks import ReadersWriterLock


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_searches_and_saves_while_several_threads_add(tmp_path: Path) -> None:
    """What was there is found throughout, what was added is found at the end, what is saved is whole."""
    vectors = unit(0, 2000)
    index = ErsIndex(beam=4, refine=20)
    index.build(vectors[:1000], np.arange(1000), {"half": np.arange(1000) % 2})
    done = threading.Event()

    def add(start: int) -> None:
        for at in range(start, start + 250, 50):
            ids = np.arange(at, at + 50)
            index.add(vectors[ids], ids, {"half": ids % 2})
            index.remove(ids[:10])
            index.upsert(vectors[ids], ids, {"half": ids % 2})

    def search() -> None:
        while not done.is_set():
            found, scores = index.search(vectors[:50], 3)
            # A vector's own score is the best; the beam of 4 holds its leaf.
            assert np.mean(found[:, 0] == np.arange(50)) > 0.95
            assert ((found >= 0) & np.isfinite(scores)).all()
            odd, _ = index.search(vectors[:5], 3, where={"half": 1})
            assert (odd % 2 == 1).all()

    def save() -> None:
        while not done.is_set():
            index.save(tmp_path / "index")
            # Each change is whole in what was saved: 50 more, 10 fewer, or 10 more.
            assert len(ErsIndex.load(tmp_path / "index")) % 10 == 0

    with ThreadPoolExecutor(7) as pool:
        others = [pool.submit(work) for work in (search, search, save)]
        adders = [pool.submit(add, start) for start in (1000, 1250, 1500, 1750)]
        wait(adders)
        done.set()
        for work in (*adders, *others):
            work.result()
    assert len(index) == 2000
    assert index.search(vectors, 1, refine=2000)[0][:, 0].tolist() == list(range(2000))
    index.save(tmp_path / "index")
    again = ErsIndex.load(tmp_path / "index")
    np.testing.assert_array_equal(again.search(vectors, 5), index.search(vectors, 5))


def test_a_writer_is_alone_and_waits_for_readers() -> None:
    lock = ReadersWriterLock()
    inside: list[str] = []
    worst: list[tuple[int, int]] = []

    def work(kind: str) -> None:
        for _ in range(200):
            with lock.reading() if kind == "r" else lock.writing():
                inside.append(kind)
                worst.append((inside.count("w"), len(inside)))
                inside.remove(kind)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, "rrrww"))
    assert not inside
    assert all(writers == 0 or everyone == 1 for writers, everyone in worst)


def test_searches_find_enough_while_maintenance_exchanges_the_tree() -> None:
    vectors = unit(0, 4000)
    index = ErsIndex(beam=4, refine=20)
    index.build(vectors[:60], np.arange(60))
    done = threading.Event()

    def add(start: int) -> None:
        for at in range(start, 4000, 80):
            ids = np.arange(at, min(at + 40, 4000))
            index.add(vectors[ids], ids)

    def search() -> None:
        while not done.is_set():
            found, scores = index.search(vectors[:40], 10)
            assert (found >= 0).all()
            np.testing.assert_allclose(
                scores, np.einsum("qkd,qd->qk", vectors[found], vectors[:40]), atol=1e-5
            )
            assert index.health().live >= 60

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search) for _ in range(2)]
        adders = [pool.submit(add, start) for start in (60, 100)]
        wait(adders)
        done.set()
        for work in (*adders, *searches):
            work.result()
    assert len(index) == 4000
    health = index.health()
    assert health.restructured + health.rebuilt > 3
    assert np.mean(index.search(vectors, 1, beam=16)[0][:, 0] == np.arange(4000)) > 0.95
