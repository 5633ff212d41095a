import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.ers.inverted_lists import CODECS, Codec


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def saved(folder: Path, codec: Codec = "pq", rows: int = 600) -> ErsIndex:
    index = ErsIndex(beam=3, refine=20, codec=codec, success_weight=0.5)
    index.build(unit(0, rows), np.arange(rows) * 3)
    index.learn()
    for query in unit(2, 20):
        index.feedback(query, 30)
    index.save(folder)
    return index


@pytest.mark.parametrize("codec", CODECS)
def test_a_loaded_index_answers_bit_for_bit_alike(tmp_path: Path, codec: Codec) -> None:
    index = saved(tmp_path / "index", codec)
    again = ErsIndex.load(tmp_path / "index")
    for queries in (unit(1, 100), unit(1, 3)):
        for mine, theirs in zip(index.search(queries, 15), again.search(queries, 15), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    again.save(tmp_path / "index")  # over the files that it has mapped
    third = ErsIndex.load(tmp_path / "index", verify=False)
    np.testing.assert_array_equal(third.search(unit(1, 50), 5)[1], again.search(unit(1, 50), 5)[1])
    assert len([entry for entry in (tmp_path / "index").iterdir() if entry.name.startswith("data-")]) == 1


def test_a_flipped_byte_in_any_file_is_reported_by_name(tmp_path: Path) -> None:
    saved(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 5
    rng = np.random.default_rng(0)
    for path in files:
        good = path.read_bytes()
        for place in (0, len(good) - 1, *rng.integers(0, len(good), 5)):
            bad = bytearray(good)
            bad[place] ^= 1
            path.write_bytes(bad)
            with pytest.raises(ValueError, match=path.name):
                ErsIndex.load(tmp_path)
        path.write_bytes(good[:-1])
        with pytest.raises(ValueError, match=path.name):
            ErsIndex.load(tmp_path, verify=False)
        path.write_bytes(good)
    ErsIndex.load(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        ErsIndex.load(tmp_path)


def test_folders_that_hold_no_index_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no index in"):
        ErsIndex.load(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="other files"):
        saved(tmp_path)
    with pytest.raises(ValueError, match="empty index"):
        ErsIndex().save(tmp_path / "new")


def test_a_place_where_no_folder_can_be_is_named(tmp_path: Path) -> None:
    index = saved(tmp_path / "index")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        ValueError, match=r"file: cannot save an index there \(a file is there\); choose another"
    ):
        index.save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"cannot save an index there \(Not a directory\)"):
        index.save(tmp_path / "file" / "index")
    with pytest.raises(ValueError, match=r"no index in .*file"):
        ErsIndex.load(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


BATCH = 10

# For every line of input a child that changes and saves until it is killed: ids 0, 3, 6 ... stay, others come
# and go. Children of a process that has everything loaded start in a moment.
WRITERS = """
import os, sys, numpy as np
from retrieval import ErsIndex
x = np.random.default_rng(7).normal(size=(10, 16))
x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
ids = np.arange(10) + 10_000
index = ErsIndex.load(sys.argv[1])
index.upsert(x, ids)
index.remove(ids)
while sys.stdin.readline():
    child = os.fork()
    if not child:
        index = ErsIndex.load(sys.argv[1])
        print(os.getpid(), flush=True)
        while True:
            index.upsert(x, ids)
            index.save(sys.argv[1])
            index.remove(ids)
            index.save(sys.argv[1])
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


class Writers:
    """One writer at a time, each killed."""

    def __init__(self, folder: Path) -> None:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WRITERS, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread
        )

    def start(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill(self, writer: int) -> None:
        assert self._process.stdout is not None
        os.kill(writer, signal.SIGKILL)
        assert self._process.stdout.readline() == "dead\n"

    def end(self) -> None:
        self._process.communicate()


def test_a_process_killed_at_any_moment_leaves_a_whole_index(tmp_path: Path) -> None:
    """Fifty processes, each killed while it changes and saves: the folder opens as before or after."""
    folder = tmp_path / "index"
    before = saved(folder, rows=200).search(unit(1, 20), 5)
    after = ErsIndex.load(folder)
    after.upsert(unit(7, BATCH), np.arange(BATCH) + 10_000)
    expected = {200: before, 200 + BATCH: after.search(unit(1, 20), 5)}
    writers = Writers(folder)
    rng = np.random.default_rng()
    for _ in range(50):
        writer = writers.start()
        time.sleep(rng.uniform(0, 0.03))
        writers.kill(writer)
        index = ErsIndex.load(folder)
        np.testing.assert_array_equal(index.search(unit(1, 20), 5), expected[len(index)])
    writers.end()
    saved(folder)  # the killed writers' lock and leftovers are in nobody's way
    assert len([entry for entry in folder.iterdir() if entry.name.startswith("data-")]) == 1


def test_reading_while_another_process_saves(tmp_path: Path) -> None:
    """The files that a manifest names may be gone by the time they are read: then there is a newer one."""
    saved(tmp_path, rows=200)
    writers = Writers(tmp_path)
    writer = writers.start()
    lengths = {len(ErsIndex.load(tmp_path)) for _ in range(60)}
    writers.kill(writer)
    writers.end()
    assert lengths <= {200, 200 + BATCH}
    for files in tmp_path.glob("data-*"):
        shutil.rmtree(files)
    with pytest.raises(ValueError, match=r"codes\.npy is missing"):
        ErsIndex.load(tmp_path)


def test_with_the_vectors_on_disk_little_is_in_memory(tmp_path: Path) -> None:
    rows = 30_000
    index = ErsIndex(codec="sq8", leaves=200)
    index.build(unit(0, rows, 128), np.arange(rows))
    raw = rows * 128 * 4
    assert index.resident_bytes() > raw
    index.save(tmp_path / "index")
    assert ErsIndex.load(tmp_path / "index").resident_bytes() < 0.35 * raw
