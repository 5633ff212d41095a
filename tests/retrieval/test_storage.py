import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from durable.checksums import file_facts, json_bytes
from durable.errors import DamagedFileError, LockError
from retrieval import ErsIndex
from retrieval.ers.inspect import read_outline
from retrieval.ers.inverted_lists import CODECS, Codec
from retrieval.storage import NotSavedError
from tests.attack.index_fuzzer import to_first_schema


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


def data_folders(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith("data-")]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit of the process, which takes part of a file and then refuses as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("most", [100, 20_000, 39_000])
def test_a_full_disk_is_one_line_and_leaves_the_old_index(tmp_path: Path, most: int) -> None:
    index = saved(tmp_path)
    before = index.search(unit(1, 20), 5)
    entries = sorted(path.name for path in tmp_path.iterdir())
    index.add(unit(5, 50), 10_000 + np.arange(50))
    told = (
        r": cannot save the index \(the (?:file|disk) .*, 0\.1 MB are needed, [\d,.]+ MB are free\); "
        "the index that it held is as it was$"
    )
    with files_of_at_most(most), pytest.raises(NotSavedError, match=told) as failure:
        index.save(tmp_path)
    assert "\n" not in str(failure.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == entries
    np.testing.assert_array_equal(ErsIndex.load(tmp_path).search(unit(1, 20), 5), before)
    with files_of_at_most(most), pytest.raises(NotSavedError, match="nothing is left there"):
        index.save(tmp_path / "new")
    assert not data_folders(tmp_path / "new")


def test_an_interruption_and_a_killed_writer_leave_nothing_that_takes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = saved(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("retrieval.storage.sync_tree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.save(tmp_path)
    assert len(data_folders(tmp_path)) == 1
    (tmp_path / "data-0123456789abcdef").mkdir()
    (tmp_path / "data-0123456789abcdef" / "vectors.npy").write_bytes(bytes(1000))
    with files_of_at_most(100), pytest.raises(NotSavedError):
        index.save(tmp_path)
    assert data_folders(tmp_path) == [json.loads((tmp_path / "manifest.json").read_text())["data"]]


def test_a_file_system_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    index = saved(tmp_path / "index")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(LockError, match=r"knows no locks \(.*\); save the index on another file system"):
        index.save(tmp_path / "index")
    assert len(ErsIndex.load(tmp_path / "index")) == 600


def sealed(folder: Path, **changed: object) -> None:
    """Changes the manifest, with a checksum that is right."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changed
    (folder / "manifest.json").write_bytes(json_bytes(manifest))


def test_a_manifest_leads_to_no_other_place(tmp_path: Path) -> None:
    saved(tmp_path / "index")
    saved(tmp_path / "other")
    (name,) = data_folders(tmp_path / "other")
    for place in (f"../other/{name}", str(tmp_path / "other" / name), ".", None):
        sealed(tmp_path / "index", data=place)
        with pytest.raises(DamagedFileError, match=r"manifest\.json describes no index"):
            ErsIndex.load(tmp_path / "index")


def test_nested_brackets_and_a_pipe_for_a_manifest_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DamagedFileError, match="it is no JSON"):
        ErsIndex.load(tmp_path)
    (tmp_path / "manifest.json").unlink()
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ValueError, match="no index in"):
        ErsIndex.load(tmp_path)


def changed_array(folder: Path, file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Changes an array of a saved index; all checksums are right."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = folder / manifest["data"]
    arrays = dict(load_file(data / file))
    arrays[name] = np.ascontiguousarray(change(arrays[name].copy()))
    save_file(arrays, data / file)
    sealed(folder, files=file_facts(data, manifest["files"]))


def put(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[place] = value
        return array

    return change


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("file", "name", "change", "told"),
    [
        ("tree", "first_child.1", put(1, 2**40), "first_child.1 has 1099511627776"),
        ("tree", "first_child.1", put(1, 0), "own children"),
        ("tree", "first_child.0", lambda x: x[:1], r"first_child.0 is int64 \[1\], expected int64 \[2\]"),
        ("tree", "centroids.1", put(5, np.nan), "centroids.1 has nan"),
        ("tree", "centroids.1", lambda x: x[:, :-1], "centroids.1 is float32"),
        ("tree", "centroids.0", lambda x: 3 * x / 2, "no unit vectors"),
        ("tree", "visits.0", put(0, 1e300), "visits.0 has 1e"),
        ("tree", "clock", put(1, 0), "clock has the weight 0"),
        ("tree", "wear.made", put(0, -1), "wear.made has -1"),
        ("tree", "wear.counts", put(0, np.inf), "wear.counts has inf for changed"),
        ("tree", "book", put(3, np.inf), "book has inf"),
        ("tree", "book", lambda x: x[1:], "book is float32"),
        ("tree", "reach", put(0, np.nan), "reach has nan"),
        ("rows", "ids", put(1, 0), "an id stands there twice"),
        ("rows", "ids", put(1, -5), "ids has -5"),
        ("rows", "ids", lambda x: x.astype(np.float64), "ids is float64"),
        ("rows", "leaf", put(7, 10**6), "leaf has 1000000"),
        ("rows", "leaf", lambda x: x[::-1], "listed has not each row once, in its leaf"),
        ("rows", "listed", put(0, 600), "listed has 600"),
        ("rows", "listed", lambda x: np.zeros_like(x), "listed has not each row once"),
        ("rows", "columns", lambda x: x[:-1], "columns are no metadata"),
    ],
)
def test_a_number_that_leads_out_of_an_array_is_refused_by_file_and_name(
    tmp_path: Path, file: str, name: str, change: Callable[[np.ndarray], np.ndarray], told: str, verify: bool
) -> None:
    saved(tmp_path)
    changed_array(tmp_path, f"{file}.safetensors", name, change)
    with pytest.raises(DamagedFileError, match=rf"{file}\.safetensors is damaged: .*{told}"):
        ErsIndex.load(tmp_path, verify=verify)


def test_a_metadata_code_without_a_text_is_refused(tmp_path: Path) -> None:
    index = ErsIndex()
    index.build(unit(0, 50), np.arange(50), {"name": ["a", "b"] * 25})
    index.save(tmp_path)
    changed_array(tmp_path, "rows.safetensors", "column.name", put(3, 2))
    for read in (ErsIndex.load, read_outline):
        with pytest.raises(DamagedFileError, match=r"column\.name has 2, expected 1 or less"):
            read(tmp_path)


def test_an_index_of_the_first_schema_is_opened_with_codes_made_anew(tmp_path: Path) -> None:
    """It has faiss's own file of the leaves, which is not read."""
    index = saved(tmp_path)
    to_first_schema(tmp_path)
    assert read_outline(tmp_path).feedbacks == pytest.approx(20, rel=1e-3)
    with pytest.warns(UserWarning, match="of an older release: its codes are made anew"):
        again = ErsIndex.load(tmp_path)
    mine, theirs = (some.search(unit(1, 100), 5)[0] for some in (index, again))
    assert (mine == theirs).mean() > 0.95
    again.save(tmp_path)
    np.testing.assert_array_equal(ErsIndex.load(tmp_path).search(unit(1, 100), 5)[0], theirs)


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


def exact(index: ErsIndex) -> np.ndarray:
    """Answers ``[2, 20, 5]`` that do not depend on leaves, which many changes move."""
    return np.stack(index.search(unit(1, 20), 5, beam=len(index), refine=len(index)))


def test_a_process_killed_at_any_moment_leaves_a_whole_index(tmp_path: Path) -> None:
    """Fifty processes, each killed while it changes and saves: the folder opens as before or after."""
    folder = tmp_path / "index"
    before = exact(saved(folder, rows=200))
    after = ErsIndex.load(folder)
    after.upsert(unit(7, BATCH), np.arange(BATCH) + 10_000)
    expected = {200: before, 200 + BATCH: exact(after)}
    writers = Writers(folder)
    rng = np.random.default_rng()
    for _ in range(50):
        writer = writers.start()
        time.sleep(rng.uniform(0, 0.03))
        writers.kill(writer)
        index = ErsIndex.load(folder)
        np.testing.assert_array_equal(exact(index), expected[len(index)])
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
