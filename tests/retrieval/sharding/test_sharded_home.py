"""An index in its home: what was acknowledged is there again, whoever was killed, and damage is named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from durable.appended_records import append_record
from durable.errors import DamagedFileError, LockError
from retrieval import ErsIndex, ShardDownError, ShardedIndex
from retrieval.sharding.shard_change import Change, ShardPart

WIDTH, EVERYTHING = 8, 10**6


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def built(home: Path | None, **settings: object) -> ShardedIndex:
    index = ShardedIndex(3 if settings.get("place") is None else 2, home=home, **settings)  # type: ignore
    index.build(unit(0, 300), np.arange(300), {"name": ["a", "b", "c"] * 100})
    return index


def changed(index: ShardedIndex | ErsIndex, start: int, changes: int) -> None:
    for number in range(start, start + changes):
        index.add(unit(number, 3), 1000 + 3 * number + np.arange(3), {"name": ["x", "y", "é"]})
        index.remove(np.array([number]))
        index.update(-unit(number, 1), np.array([200 + number]))


def assert_same(index: ShardedIndex, other: ShardedIndex | ErsIndex) -> None:
    np.testing.assert_array_equal(index.ids, other.ids)
    found, expected = (own.search(unit(77, 20), 9, refine=EVERYTHING) for own in (index, other))
    np.testing.assert_array_equal(found, expected)
    (mine, names), (theirs, others) = index.get(index.ids), other.get(index.ids)
    np.testing.assert_array_equal(mine, theirs)
    assert names["name"].tolist() == others["name"].tolist()


def until(holds: Callable[[], bool], seconds: float = 60) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.mark.parametrize("by", ["tree", "hash"])
def test_changes_are_there_again_with_any_number_of_replicas(by: str, tmp_path: Path) -> None:
    one = ErsIndex()
    one.build(unit(0, 300), np.arange(300), {"name": ["a", "b", "c"] * 100})
    index = built(tmp_path / "home", by=by)
    changed(index, 0, 5)
    changed(one, 0, 5)
    index.learn()
    index.feedback(unit(5, 1)[0], 100)
    index.close()
    with pytest.raises(ValueError, match="search on an empty index"):
        index.search(unit(0, 1), 1)
    with ShardedIndex.open(tmp_path / "home", replicas=2) as index:
        assert_same(index, one)
        changed(index, 5, 5)
        changed(one, 5, 5)
        index.checkpoint()
        changed(index, 10, 2)
        changed(one, 10, 2)
        index.save(tmp_path / "copy")
        with ShardedIndex.load(tmp_path / "home", replicas=3) as read:  # while it is open
            assert read.live == [3, 3, 3]
            assert_same(read, one)
        with pytest.raises(LockError, match="another process has this index open"):
            ShardedIndex.open(tmp_path / "home")
    with ShardedIndex.open(tmp_path / "home") as index, ShardedIndex.load(tmp_path / "copy") as copy:
        assert_same(index, one)
        assert_same(copy, one)
    with ShardedIndex.open(tmp_path / "copy") as index:  # makes it a home
        changed(index, 12, 1)
        changed(one, 12, 1)
    with ShardedIndex.load(tmp_path / "copy") as copy:
        assert_same(copy, one)


def test_a_shard_without_vectors_is_filled_and_emptied(tmp_path: Path) -> None:
    index = ShardedIndex(5, by="hash", home=tmp_path / "home")
    index.build(unit(0, 2), np.arange(2))
    assert 0 in index.counts
    for start in (10, 500):
        index.add(unit(1, 100), start + np.arange(100))
        index.remove(start + np.arange(100))
        index.checkpoint()
    index.remove(np.arange(2))
    assert (index.counts, len(index)) == ([0] * 5, 0)
    index.close()
    with ShardedIndex.open(tmp_path / "home") as index:
        assert len(index) == 0
        with pytest.raises(ValueError, match="k=1: the index holds 0"):
            index.search(unit(0, 1), 1)
        index.add(unit(2, 3), np.arange(3))
        assert index.search(unit(2, 3), 1)[0].tolist() == [[0], [1], [2]]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from retrieval import ShardedIndex
index = ShardedIndex.open(sys.argv[1])
number = 0
while True:
    rng = np.random.default_rng(number)
    vectors = rng.normal(size=(3, 8)).astype(np.float32)
    index.add(vectors, 1000 + 3 * number + np.arange(3), {"name": ["x"] * 3})
    index.remove(np.array([number]))
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_has_lost_nothing_that_it_reported(tmp_path: Path) -> None:
    built(tmp_path / "home").close()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "home")]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(15):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    last = max([14, *(int(line) for line in writer.stdout.readlines() if line.endswith("\n"))])
    writer.wait()
    with ShardedIndex.open(tmp_path / "home") as index:
        gone = (300 - np.isin(np.arange(300), index.ids).sum()).item()
        added = (index.ids >= 1000).sum().item()
        assert gone in (last + 1, last + 2)
        assert added in (3 * gone, 3 * gone + 3)
        assert sum(index.counts) == len(index) == 300 - gone + added


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_shard_killed_under_load_answers_again_and_nothing_is_lost(replicas: int, tmp_path: Path) -> None:
    index = built(tmp_path / "home", place="process", replicas=replicas, patience=60.0)
    one = ErsIndex()
    one.build(unit(0, 300), np.arange(300), {"name": ["a", "b", "c"] * 100})
    done, waits, answers = threading.Event(), [0.0], [0]

    def search() -> None:
        while not done.is_set():
            start = time.monotonic()
            ids, _ = index.search(unit(1, 5), 5, refine=EVERYTHING)
            assert (ids >= 0).all()
            waits.append(time.monotonic() - start)
            answers[0] += 1

    def change() -> None:
        changed(index, 0, 12)

    readers = [threading.Thread(target=search) for _ in range(2)]
    writer = threading.Thread(target=change)
    for thread in (*readers, writer):
        thread.start()
    time.sleep(0.2)
    for replicas_of_shard in index._content.sets:  # type: ignore[union-attr]  # one replica of each shard
        os.kill(replicas_of_shard.hosts[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]
    writer.join()
    until(lambda: index.live == [replicas] * 2)
    done.set()
    for thread in readers:
        thread.join()
    assert index.revived == 2
    assert answers[0] > 0
    assert max(waits) < 60
    changed(one, 0, 12)
    assert_same(index, one)
    index.close()
    with ShardedIndex.open(tmp_path / "home") as index:
        assert_same(index, one)


def test_a_search_that_waits_for_a_shard_holds_up_no_change_that_moves_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built(tmp_path / "home", patience=10.0)
    replicas, keeper, go = index._content.sets[1], index._keeper, threading.Event()  # type: ignore[union-attr]
    bring_up = keeper._bring_up

    def later(*arguments: Any) -> None:
        assert go.wait(10)
        bring_up(*arguments)

    monkeypatch.setattr(keeper, "_bring_up", later)
    where = index._content.locate(np.arange(300))  # type: ignore[union-attr]
    ids = np.flatnonzero(where == 0)
    with ThreadPoolExecutor(2) as pool:
        vectors = index.get(np.flatnonzero(where == 2)[: len(ids)])[0]
        monkeypatch.setattr(index._content, "locate", lambda ids: where[ids])  # as a live shard would say
        replicas.lose(replicas.hosts[0])
        found = pool.submit(index.search, unit(1, 5), 5, refine=EVERYTHING)
        time.sleep(0.2)
        moved = pool.submit(index.update, vectors, ids[: len(vectors)], {"name": ["m"] * len(vectors)})
        time.sleep(0.2)
        go.set()
        assert (found.result()[0] >= 0).all()
        moved.result()
    assert index.revived == 1
    index.close()


def test_a_replica_that_hangs_is_taken_for_dead() -> None:
    index = built(None, place="process", replicas=2, patience=2.0)
    host = index._content.sets[0].hosts[0]  # type: ignore[union-attr]
    os.kill(host.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
    for _ in range(4):
        index.search(unit(1, 5), 5, refine=EVERYTHING)
    changed(index, 0, 2)
    until(lambda: index.live == [2, 2])
    assert index.revived >= 1
    index.close()


def test_without_a_home_the_last_replica_is_missed_by_name() -> None:
    index = built(None)
    index._content.sets[1].lose(index._content.sets[1].hosts[0])  # type: ignore[union-attr]
    with pytest.raises(ShardDownError, match=r"shard 1 is down .*last replica is gone.* no home"):
        index.search(unit(1, 1), 1, refine=EVERYTHING)
    index.close()


def data_of(home: Path) -> Path:
    return home / json.loads((home / "manifest.json").read_text())["data"]


def test_a_missing_damaged_or_strange_shard_is_refused_by_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    index = built(home, by="hash")
    changed(index, 0, 3)
    index.close()
    shutil.copytree(home, tmp_path / "sound")

    def refused(match: str, kind: type[Exception] = DamagedFileError, *, verify: bool = True) -> None:
        for read in (ShardedIndex.load, ShardedIndex.open):
            with pytest.raises(kind, match=match):
                read(home, verify=verify)
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "sound", home)

    vectors = next((data_of(home) / "shard-0001").rglob("vectors.npy"))
    content = vectors.read_bytes()
    vectors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("shard-0001/.*vectors.npy is damaged")
    shutil.rmtree(data_of(home) / "shard-0002")
    refused("shard-0002/.* is missing")
    shutil.copytree(data_of(home) / "shard-0001", data_of(home) / "shard-0007")
    refused("shard-0007 is no shard of this index, which has 3")
    (data_of(home) / "changes.log").unlink()
    refused("changes.log is missing")
    log = data_of(home) / "changes.log"
    content = log.read_bytes()
    log.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    refused("changes.log is damaged: the checksum of the record at byte 0 differs")
    stray = ShardPart(drop=np.array([7, 9999]))
    for parts, message in (({0: stray}, "remove of id"), ({5: stray}, "3 shards")):
        append_record(data_of(home) / "changes.log", Change(10, parts).to_bytes())
        refused(f"changes.log: change 10 is not this index's .{message}")
    append_record(data_of(home) / "changes.log", Change(12, {}).to_bytes())
    refused("changes.log is damaged: change 12 stands behind 9")
    append_record(data_of(home) / "changes.log", b"no change")
    refused("changes.log is damaged: a record is no change")
    (home / "manifest.json").write_bytes((home / "manifest.json").read_bytes().replace(b'"hash"', b'"tree"'))
    refused("manifest.json is damaged: its checksum differs")
    other = ErsIndex()
    other.build(unit(0, 300), np.arange(300))
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="holds an index of engine 'ers', not 'ers_sharded'"):
        ShardedIndex.load(tmp_path / "other")
    with pytest.raises(ValueError, match="no index in"):
        ShardedIndex.open(tmp_path / "nothing")


def test_half_a_change_at_the_end_is_cut_off_with_a_warning(tmp_path: Path) -> None:
    index = built(tmp_path / "home")
    changed(index, 0, 2)
    expected = index.ids
    index.close()
    log = data_of(tmp_path / "home") / "changes.log"
    whole = log.read_bytes()
    log.write_bytes(whole + whole[:50])
    with pytest.warns(UserWarning, match="half a change"), ShardedIndex.open(tmp_path / "home") as index:
        np.testing.assert_array_equal(index.ids, expected)
    assert log.read_bytes() == whole
