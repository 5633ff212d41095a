"""faiss's engines over a memory-mapped file: the answers of the array, without a copy of it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from retrieval.engines import make_index
from retrieval.ers.vectors import VectorStore
from retrieval.storage import mapping_of


@pytest.mark.parametrize("name", ["flat", "ivfpq"])
def test_a_file_is_read_in_place(tmp_path: Path, name: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32)
    queries = np.random.default_rng(1).normal(size=(50, 32)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    in_memory, on_disk = make_index(name), make_index(name)
    in_memory.build(vectors, np.arange(4000))
    on_disk.build(np.load(tmp_path / "v.npy", mmap_mode="r")[:3000], np.arange(3000))
    on_disk.build(np.load(tmp_path / "v.npy", mmap_mode="r"), np.arange(4000))
    for k in (10, 2000):  # the second one finds too few in its cells
        for ours, theirs in zip(on_disk.search(queries, k), in_memory.search(queries, k), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert on_disk.disk_bytes() == vectors.nbytes
    assert in_memory.disk_bytes() == 0
    assert on_disk.resident_bytes() <= in_memory.resident_bytes() - vectors.nbytes
    copied = copy.deepcopy(on_disk)
    assert copied.disk_bytes() == 0
    np.testing.assert_array_equal(copied.search(queries, 10)[0], on_disk.search(queries, 10)[0])


def test_the_map_of_an_array_is_found_through_its_views(tmp_path: Path) -> None:
    vectors = np.ones((10, 4), np.float32)
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    for view in (mapped, mapped[3:], np.asarray(mapped)[::2], np.ascontiguousarray(mapped)):
        assert mapping_of(view) is not None
    assert mapping_of(vectors[1:]) is None
    assert mapping_of(np.array(mapped)) is None


@pytest.mark.parametrize("rows", [np.arange(500, 1500), np.arange(0, 100_000, 97)])
def test_rows_that_are_fetched_ahead_are_the_rows(tmp_path: Path, rows: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(100_000, 5)).astype(np.float32))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")[7:]  # it begins within a page
    rows = rows[rows < len(mapped)]
    store = VectorStore(mapped)
    np.testing.assert_array_equal(store.read(rows[::-1]), np.array(mapped)[rows[::-1]])
    np.testing.assert_array_equal(store.read(np.array([len(mapped) - 1])), np.array(mapped)[-1:])
