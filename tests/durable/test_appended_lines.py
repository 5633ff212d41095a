"""Appended lines: whole or not there, whatever kills the writer or fills the disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable.appended_lines import append_line, drop_last_line, mend_end, read_lines
from durable.errors import NoSpaceError

WRITER = """
import sys
from pathlib import Path
from durable.appended_lines import append_line
number = 0
while True:
    append_line(Path(sys.argv[1]), b"line %d" % number)
    print(number, flush=True)
    number += 1
"""


def is_line(text: bytes) -> bool:
    return text.startswith(b"line ") and text[5:].isdigit()


def test_lines_come_back_in_their_order_and_the_last_can_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines"
    assert read_lines(path) == ([], b"")
    for number in range(3):
        append_line(path, b"line %d" % number)
    assert read_lines(path) == ([b"line 0", b"line 1", b"line 2"], b"")
    drop_last_line(path)
    assert path.read_bytes() == b"line 0\nline 1\n"
    for _ in range(3):
        drop_last_line(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "cut", "left"),
    [
        (b"line 1\nli", b"li", b"line 1\n"),
        (b"line 1\nline 2", b"", b"line 1\nline 2\n"),
        (b"line 1\n", b"", b"line 1\n"),
        (b"\0\0\0", b"\0\0\0", b""),
        (b"", b"", b""),
    ],
)
def test_half_a_line_is_cut_off_and_a_whole_one_gets_its_end(
    tmp_path: Path, content: bytes, cut: bytes, left: bytes
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    assert mend_end(path, is_line) == cut
    assert path.read_bytes() == left
    assert mend_end(tmp_path / "none", is_line) == b""


def test_a_killed_writer_loses_no_line_that_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    reported = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    reported += [int(line) for line in process.stdout.read().split()]
    process.wait()
    mend_end(path, is_line)
    lines, rest = read_lines(path)
    assert rest == b""
    assert lines[: len(reported)] == [b"line %d" % number for number in reported]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    limit = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from durable.appended_lines import append_line\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "append_line(Path(sys.argv[1]), b'x' * 15)\n"
        "append_line(Path(sys.argv[1]), b'y' * 15)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limit, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert NoSpaceError.__name__ in done.stderr
    assert path.read_bytes() == b"x" * 15 + b"\n"
