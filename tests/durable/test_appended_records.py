"""Appended records: half a one is told apart from a damaged one, and nothing damaged is passed over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable.appended_records import append_record, mend_records, read_records
from durable.errors import DamagedFileError

RECORDS = [b"a", bytes(1000), b"\n" * 77]
WRITER = """
import sys
from pathlib import Path
from durable.appended_records import append_record
number = 0
while True:
    append_record(Path(sys.argv[1]), b"%d " % number * 500)
    print(number, flush=True)
    number += 1
"""


def written(path: Path) -> Path:
    for record in RECORDS:
        append_record(path, record)
    return path


def contents(path: Path) -> list[bytes]:
    return [content for content, _ in read_records(path)]


def test_records_come_back_in_their_order_and_from_any_place(tmp_path: Path) -> None:
    path = written(tmp_path / "folder" / "records")
    found = list(read_records(path))
    assert [content for content, _ in found] == RECORDS
    assert found[-1][1] == path.stat().st_size
    assert [content for content, _ in read_records(path, found[0][1])] == RECORDS[1:]
    with pytest.raises(ValueError, match="at least one byte"):
        append_record(path, b"")


def test_half_a_record_is_cut_off_wherever_it_was_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "records")
    whole = path.read_bytes()
    start = list(read_records(path))[1][1]
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert contents(path) == RECORDS[:2]
        assert mend_records(path) == end - start
        assert path.stat().st_size == start
    append_record(path, b"more")
    assert contents(path) == [*RECORDS[:2], b"more"]


def test_any_flipped_byte_is_refused_with_its_record(tmp_path: Path) -> None:
    path = written(tmp_path / "records")
    whole, places = path.read_bytes(), [0, *(place for _, place in read_records(path))]
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        start = max(place for place in places if place <= at)
        with pytest.raises(DamagedFileError, match=f"record.* at byte {start:,} "):
            mend_records(path)
    with pytest.raises(DamagedFileError, match="missing"):
        list(read_records(tmp_path / "none"))


def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "records"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    mend_records(path)
    numbers = [int(content.split()[0]) for content in contents(path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len(said)
