"""Vectors under a memory map: an index of them is the same, holds few of them, and leaves the file alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.ers import vectors
from retrieval.ers.serialization import CODES, ROWS, TREE, VECTORS
from retrieval.ers.vectors import Precision

WIDTH = 32


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def mapped(path: Path, vectors: np.ndarray) -> Any:
    np.save(path, vectors)
    return np.load(path, mmap_mode="r")


def saved(index: ErsIndex, folder: Path) -> dict[str, bytes]:
    index.save(folder)
    data = next(folder.glob("data-*"))
    return {name: (data / name).read_bytes() for name in (TREE, ROWS, CODES, VECTORS)}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_index_of_a_file_is_that_of_the_array(tmp_path: Path, precision: Precision) -> None:
    given = unit(0, 6000).astype(precision)
    found = []
    for name, source in (("array", given), ("file", mapped(tmp_path / "v.npy", given))):
        index = ErsIndex(precision=precision, recall=0.9)
        index.build(source, np.arange(6000))
        assert index.disk_bytes() == (given.nbytes if name == "file" else 0)
        found.append((saved(index, tmp_path / name), index.beam, index.refine))
    assert found[0] == found[1]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_rows_that_are_asked_for_together_score_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    source = mapped(tmp_path / "v.npy", unit(0, 6000).astype(precision))[5:]
    answers = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(vectors, "SHARE_CACHED", share)
        index = ErsIndex(precision=precision, beam=8)
        index.build(source, np.arange(5995))
        index.add(unit(1, 100), np.arange(6000, 6100))
        answers.append([*index.search(unit(2, 50), 10), *index.search(unit(2, 5), 10, refine=9000)])
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("precision", "metric"), [("float16", "ip"), ("float32", "cosine")])
def test_a_file_of_another_form_is_copied(tmp_path: Path, precision: Precision, metric: Any) -> None:
    index = ErsIndex(precision=precision, metric=metric)
    index.build(mapped(tmp_path / "v.npy", unit(0, 2000)), np.arange(2000))
    assert index.disk_bytes() == 0
    assert index.resident_bytes() > 2000 * WIDTH * np.dtype(precision).itemsize


def test_rows_of_a_file_that_do_not_lie_side_by_side_are_copied(tmp_path: Path) -> None:
    whole = mapped(tmp_path / "v.npy", unit(0, 4000))
    answers = []
    for source in (whole[::2], np.array(whole[::2])):
        index = ErsIndex(beam=8)
        index.build(source, np.arange(2000))
        assert index.disk_bytes() == 0
        answers.append(index.search(unit(1, 20), 5)[0].tolist())
    assert answers[0] == answers[1]


def test_changes_leave_the_file_alone_and_answer_as_in_memory(tmp_path: Path) -> None:
    given, more = unit(0, 5000), unit(1, 3000)
    indexes = []
    for source in (given, mapped(tmp_path / "v.npy", given)):
        index = ErsIndex(beam=64, refine=400, maintain=False)
        index.build(source, np.arange(5000))
        index.add(more[:1500], np.arange(5000, 6500))
        index.remove(np.arange(0, 6500, 7))
        index.update(more[1500:2500], np.arange(6500)[np.arange(6500) % 7 != 0][:1000])
        index.upsert(more[2500:], np.arange(6400, 6900))
        indexes.append(index)
    in_memory, on_disk = indexes
    assert on_disk.ids.tolist() == in_memory.ids.tolist()
    np.testing.assert_array_equal(on_disk.get(on_disk.ids)[0], in_memory.get(on_disk.ids)[0])
    both = [index.search(unit(2, 100), 10, refine=10_000) for index in indexes]
    np.testing.assert_array_equal(both[0][0], both[1][0])
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), given)
    on_disk.save(tmp_path / "index")
    opened = ErsIndex.load(tmp_path / "index")
    assert opened.disk_bytes() == len(on_disk) * WIDTH * 4
    np.testing.assert_array_equal(opened.get(opened.ids)[0], on_disk.get(opened.ids)[0])
    opened.add(more[:5], np.arange(9000, 9005))
    assert opened.search(more[:5], 1, beam=10**6)[0][:, 0].tolist() != [-1] * 5
    assert 9004 in opened


BUILD = """
import json, sys
import numpy as np
from experiments.console.process import PeakMemory, resident_bytes
from retrieval import ErsIndex
from retrieval.ers import vectors

vectors = np.load(sys.argv[1], mmap_mode="r")
warm = ErsIndex(leaves=64)
warm.build(np.array(vectors[:2000]), np.arange(2000))
warm.search(np.array(vectors[:5]), 3)
before = resident_bytes()
index = ErsIndex(leaves=64)
with PeakMemory() as build:
    index.build(vectors, np.arange(len(vectors)))
    index.search(np.array(vectors[:500]), 10)
with PeakMemory() as keep:
    index.save(sys.argv[2])
    opened = ErsIndex.load(sys.argv[2])
    opened.search(np.array(vectors[:500]), 10)
print(json.dumps([build.bytes - before[0], keep.bytes - before[0], vectors.nbytes, index.resident_bytes()]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says whose memory it is")
def test_building_saving_and_loading_hold_a_part_of_the_file(tmp_path: Path) -> None:
    count, width = 160_000, 256
    path = tmp_path / "v.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float32, (count, width))
    rng = np.random.default_rng(0)
    for at in range(0, count, 20_000):
        stored[at : at + 20_000] = rng.standard_normal((20_000, width), dtype=np.float32)
    stored.flush()
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(path), str(tmp_path / "index")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    build, keep, whole, resident = json.loads(run.stdout)
    assert whole == 163_840_000
    assert resident < 0.15 * whole
    assert 0 < build < 0.6 * whole, run.stdout
    assert 0 < keep < 0.6 * whole, run.stdout
