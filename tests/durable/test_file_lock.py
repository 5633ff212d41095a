"""Locks: one process at a time, none left behind, one line where there are none."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from durable import file_lock
from durable.errors import LockError
from durable.file_lock import hold_here_alone, locked

HOLD = """
import sys
from pathlib import Path
from durable.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_elsewhere(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_by_name_or_waits(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    process = held_elsewhere(path)
    with (
        pytest.raises(LockError, match=rf"two runs \(process {process.pid} on "),
        locked(path, refuse="two runs"),
    ):
        pass
    waited = []

    def waiting() -> None:
        waited.append(True)
        process.communicate()

    with locked(path, waiting=waiting):
        assert waited
    assert not path.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = held_elsewhere(path)
    process.kill()
    process.communicate()
    assert path.exists()
    with locked(path, refuse="held"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(LockError, match=r"knows no locks .*; choose another cache="),
        locked(tmp_path / ".lock", advice="choose another cache="),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(LockError, match=r"file/\.lock: no lock can be made there"),
        locked(tmp_path / "file" / ".lock"),
    ):
        pass


def mounted(folder: Path, kind: str, options: str) -> str:
    """Mounts as the kernel lists them, where the file system of a folder is of another kind."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    own = "22 1 0:999 / / rw - ext4 /dev/x rw\n"
    return f"{own}23 1 {number} / {folder} rw shared:1 - {kind} server:/ {options}\n"


@pytest.mark.parametrize(
    ("kind", "options", "alone"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", ""),
        ("nfs", "rw,vers=3,local_lock=all", "local_lock=all"),
        ("nfs", "rw,nolock", "nolock"),
        ("lustre", "rw,flock", ""),
        ("lustre", "rw,localflock", "localflock"),
        ("ceph", "rw", ""),
    ],
)
def test_a_lock_that_other_machines_wait_for_keeps_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, alone: str
) -> None:
    path = tmp_path / "folder" / ".lock"
    assert hold_here_alone(path) == ""
    monkeypatch.setattr(file_lock, "_mounts", lambda: mounted(tmp_path, kind, options))
    assert hold_here_alone(path) == alone
    for _ in range(2):
        with locked(path, refuse="held"):
            assert path.read_text().startswith(f"{os.getpid()} ")
        assert path.read_text() == ""
