import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.leaves import CODECS, Codec


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


WRITER = """
import sys, numpy as np
from retrieval import ErsIndex
index = ErsIndex.load(sys.argv[1])
other = ErsIndex(codec="sq8")
x = np.random.default_rng(5).normal(size=(900, 16)).astype(np.float32)
other.build(x, np.arange(900))
print("ready", flush=True)
while True:
    other.save(sys.argv[1])
    index.save(sys.argv[1])
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_index(tmp_path: Path) -> None:
    """One process saves two indexes by turns; it is stopped, looked at, let go on, and at last killed."""
    folder = tmp_path / "index"
    saved(folder)
    rng = np.random.default_rng()
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(10):
            time.sleep(rng.uniform(0.001, 0.05))
            writer.send_signal(signal.SIGSTOP)  # what is on the disk now is what a kill would leave
            assert len(ErsIndex.load(folder)) in (600, 900)
            writer.send_signal(signal.SIGCONT)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert len(ErsIndex.load(folder)) in (600, 900)
    saved(folder)  # a killed writer's lock and leftovers are in nobody's way
    assert len([entry for entry in folder.iterdir() if entry.name.startswith("data-")]) == 1
