"""Machine code on disk is used again, and never after a change of what it was made from."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from compiling import cached_njit
from compiling.cache import HINTS

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
