"""Machine code on disk is used again, and never after a change of what it was made from."""

import os
import random
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from compiling import cached_njit
from compiling.cache import HINTS
from durable.checksums import write_named

ROOT = Path(__file__).parents[2]


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(textwrap.dedent(text))


def answer(folder: Path) -> list[int]:
    """The answer of `outer.six` and how often its machine code was found on disk, in a new process."""
    run = "import outer; print(outer.six(2), sum(outer.six.stats.cache_hits.values()))"
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(folder / "kept")}
    done = subprocess.run(
        [sys.executable, "-c", run], env=os.environ | paths, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_a_change_in_another_file_is_seen(tmp_path):
    write(
        tmp_path,
        "outer",
        """
        from compiling import cached_njit
        from part import times

        @cached_njit()
        def six(number):
            return times(number)
        """,
    )
    part = """
        import compiling

        @compiling.device_njit()
        def times(number):
            return {} * number
        """
    write(tmp_path, "part", part.format(3))
    assert answer(tmp_path) == [6, 0]
    assert answer(tmp_path) == [6, 1]
    write(tmp_path, "part", part.format(4))
    assert answer(tmp_path) == [8, 0]


def test_a_file_without_kernels_changes_nothing(tmp_path):
    write(
        tmp_path,
        "outer",
        "from compiling import cached_njit\nsix = cached_njit()(lambda number: 3 * number)\n",
    )
    assert answer(tmp_path) == [6, 0]
    write(tmp_path, "other", "x = 1")
    assert answer(tmp_path) == [6, 1]


def test_it_compiles_where_nothing_can_be_kept():
    namespace = {}
    exec("def twice(number):\n    return 2 * number", namespace)  # of no file
    assert cached_njit()(namespace["twice"])(3) == 6


def test_all_files_of_kernels_count():
    """Each package's kernels are in files that the fingerprint is made of."""
    for folder in ("envs", "agents", "retrieval", "models"):
        files = [path.read_text() for path in (ROOT / folder).rglob("*.py")]
        compiled = [
            text
            for text in files
            if re.search(r"^@(numba|cached_njit|device_njit|inlined|device|inner|entry|once)", text, re.M)
        ]
        assert compiled
        assert all(any(hint.decode() in text for hint in HINTS) for text in compiled)


SIX = """
from compiling import cached_njit

@cached_njit()
def six(number):
    return 3 * number
"""


def started(folder: Path) -> tuple[list[int], str]:
    """As `answer`, and what the process said on stderr."""
    run = "import outer; print(outer.six(2), sum(outer.six.stats.cache_hits.values()))"
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(folder / "kept")}
    paths |= {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home" / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", run], env=os.environ | paths, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()], done.stderr


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "unpickled"])
def test_damaged_machine_code_is_set_aside_and_compiled_anew(tmp_path, how):
    write(tmp_path, "outer", SIX)
    assert answer(tmp_path) == [6, 0]
    (path,) = (tmp_path / "kept").rglob("*six-*.kernel")
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[random.Random(len(content)).randrange(len(content))] ^= 16
    path.unlink()
    if how == "unpickled":  # whole, and of no use: as if a class had moved
        stem, end = path.name.removesuffix(".kernel").rsplit("-", 1)[0], b"cno_such_module\nThing\n."
        head = content[: content.index(b"\n") + 1]
        path = write_named(path.parent, stem, ".kernel", lambda at: (at.write_bytes(head + end), None)[1])
    else:
        path.write_bytes({"flip": flipped, "cut": content[: len(content) // 2], "empty": b""}[how])
    answered, told = started(tmp_path)
    assert answered == [6, 0]
    assert len(told.splitlines()) == 1
    assert f"{path} is damaged" in told
    assert "made anew" in told
    assert started(tmp_path) == ([6, 1], "")


def test_machine_code_lies_where_only_its_owner_can_write(tmp_path):
    write(tmp_path, "outer", SIX)
    assert answer(tmp_path) == [6, 0]
    (path,) = (tmp_path / "kept").rglob("*six-*.kernel")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.chmod(0o770)
    for hits in (0, 1):
        answered, told = started(tmp_path)
        assert answered == [6, hits]
        assert len(told.splitlines()) == 1
        assert f"{path.parent}: others can write to it" in told
    (other,) = (tmp_path / "home").rglob("*six-*.kernel")
    assert stat.S_IMODE(other.parent.stat().st_mode) == 0o700


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)); "


def test_a_full_disk_keeps_no_machine_code_and_ends_nothing(tmp_path):
    write(tmp_path, "outer", SIX)
    paths = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    run = LIMIT + "import outer; print(outer.six(2), outer.six(2.5))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", run], env=os.environ | paths, capture_output=True, text=True, check=True
    )
    assert done.stdout == "6 7.5\n"
    assert "machine code is not kept" in done.stderr
    assert "six-" in done.stderr
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
