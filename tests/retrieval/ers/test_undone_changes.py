"""Changes that an error ends half way: the index is as it was."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval import ErsIndex
from retrieval.ers.inverted_lists import CODECS, Codec, Leaves

WIDTH = 16


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def sizes(ids: np.ndarray) -> dict[str, list[Any]]:
    return {"size": ids.tolist(), "name": [f"part {one % 9}" for one in ids.tolist()]}


def built(codec: Codec) -> ErsIndex:
    index = ErsIndex(codec=codec, beam=4, refine=30)
    index.build(unit(0, 3000), np.arange(3000), sizes(np.arange(3000)))
    return index


def seen(index: ErsIndex) -> list[Any]:
    """Everything that can be asked."""
    vectors, metadata = index.get(index.ids)
    return [
        index.ids, vectors, metadata["size"], metadata["name"].tolist(),
        *index.search(unit(1, 200), 10), *index.search(unit(1, 50), 10, where={"name": "part 3"}),
        *index.search(unit(1, 20), 10, refine=10_000),
    ]  # fmt: skip


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, when: int) -> None:
    """Lets memory run out in a call of a method of `Leaves`, after it has done its work."""
    whole, calls = getattr(Leaves, name), []

    def method(self: Leaves, *arguments: Any) -> Any:
        found = whole(self, *arguments)
        calls.append(name)
        if len(calls) == when:
            raise MemoryError
        return found

    monkeypatch.setattr(Leaves, name, method)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("when", [1, 3, 5])
def test_an_addition_that_runs_out_of_memory_is_undone(
    monkeypatch: pytest.MonkeyPatch, codec: Codec, when: int
) -> None:
    index = built(codec)
    before = seen(index)
    new = 3000 + np.arange(5000)
    with monkeypatch.context() as patched:
        fail_at(patched, "append", when)
        with pytest.raises(MemoryError, match="5,000 changes do not fit into memory; the index is as it was"):
            index.add(unit(7, 5000), new, sizes(new))
    for mine, theirs in zip(seen(index), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    index.add(unit(7, 5000), new, sizes(new))
    assert len(index) == 8000
    np.testing.assert_array_equal(index.search(unit(7, 100), 1, refine=10_000)[0][:, 0], new[:100])


@pytest.mark.parametrize("when", [1, 3])
def test_a_replacement_that_is_interrupted_is_undone(monkeypatch: pytest.MonkeyPatch, when: int) -> None:
    index = built("sq8")
    vectors, metadata = index.get(index.ids)
    mixed = np.concatenate([np.arange(0, 3000, 2), 5000 + np.arange(1500)])
    whole, calls = Leaves.append, []

    def interrupted(self: Leaves, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == when:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Leaves, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.upsert(unit(7, 3000), mixed, sizes(mixed))
    after, columns = index.get(np.arange(3000))
    np.testing.assert_array_equal(index.ids, np.arange(3000))
    np.testing.assert_array_equal(after, vectors)
    for name, values in metadata.items():
        np.testing.assert_array_equal(columns[name], values)
    found, _ = index.search(vectors[:300], 1)
    assert (found[:, 0] == np.arange(300)).mean() > 0.99


def test_a_maintenance_without_memory_leaves_the_change_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    index = built("pq")
    monkeypatch.setattr("retrieval.ers.changing.maintain", full)
    with pytest.warns(RuntimeWarning, match="the change is in, but the maintenance"):
        index.add(unit(7, 2000), 3000 + np.arange(2000), sizes(3000 + np.arange(2000)))
    assert len(index) == 5000


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

# Each child gets so many MB beyond what is loaded. It prints whether the addition was undone or is in.
LIMITED = """
import os, resource, sys
import numpy as np
from retrieval import ErsIndex

def unit(seed, rows):
    x = np.random.default_rng(seed).normal(size=(rows, 64)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)

index = ErsIndex(codec=sys.argv[1], maintain=False)
index.build(unit(0, 5000), np.arange(5000))
new, queries = unit(1, 60_000), unit(2, 50)
index.add(new[:2000], 10**7 + np.arange(2000))
index.remove(10**7 + np.arange(2000))
before = index.search(queries, 10)
for room in map(int, sys.argv[2:]):
    child = os.fork()
    if not child:
        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limit = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + room * 2**20, limit[1]))
        try:
            index.add(new, 5000 + np.arange(len(new)))
            what = "in"
        except MemoryError:
            resource.setrlimit(resource.RLIMIT_AS, limit)
            what = "undone"
            assert len(index) == 5000
            for mine, theirs in zip(index.search(queries, 10), before):
                np.testing.assert_array_equal(mine, theirs)
        print(what, flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, room
"""


@pytest.mark.parametrize("codec", CODECS)
def test_memory_that_is_short_ends_no_process(codec: Codec) -> None:
    """Limits of the system itself: with each the addition is undone whole or is in whole."""
    rooms = [4, 20, 26, 30, 36, 2000]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, codec, *map(str, rooms)],
        capture_output=True, text=True, cwd=Path(__file__).parents[3], env=os.environ | ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout.split()
    assert len(told) == len(rooms)
    assert told[0] == "undone"
    assert told[-1] == "in"
