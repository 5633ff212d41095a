"""Shards as actors of a local Ray: the same answers, and one that is killed is made again."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval import ErsIndex, ShardedIndex

ray = pytest.importorskip("ray")
EVERYTHING = 10**6


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    yield
    ray.shutdown()


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.usefixtures("cluster")
def test_actors_answer_alike_and_are_made_again(tmp_path: Path) -> None:
    one = ErsIndex()
    index = ShardedIndex(2, place="ray", home=tmp_path / "home")
    for made in (one, index):
        made.build(unit(0, 200), np.arange(200), {"size": np.arange(200)})
        made.add(unit(1, 5), 300 + np.arange(5), {"size": np.arange(5)})
        with pytest.raises(ValueError, match="add of id 300: the index has it"):
            made.add(unit(1, 1), np.array([300]), {"size": [1]})
    for actor in [host._actor for replicas in index._content.sets for host in replicas.hosts]:  # type: ignore
        ray.kill(actor)
    start = time.monotonic()
    queries = unit(2, 20)
    expected = one.search(queries, 5, refine=EVERYTHING, where={"size": [1, 2, 3, 4, 5, 6]})
    found = index.search(queries, 5, refine=EVERYTHING, where={"size": [1, 2, 3, 4, 5, 6]})
    np.testing.assert_array_equal(found, expected)
    index.remove(np.array([7, 301]))
    one.remove(np.array([7, 301]))
    np.testing.assert_array_equal(
        index.search(queries, 9, refine=EVERYTHING), one.search(queries, 9, refine=EVERYTHING)
    )
    assert index.revived == 2
    assert time.monotonic() - start < 120
    index.close()
