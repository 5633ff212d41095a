"""Locks of run folders: one process at a time, none for ever, named where there are none."""

import errno
import fcntl
from pathlib import Path

import pytest

from align3d.errors import UserError
from experiments.run_folder.run_lock import LOCK, held_folder
from tests.durable.test_file_lock import held_elsewhere

NAMED = "hydra.run.dir=outputs/mine"


def test_a_second_process_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = held_elsewhere(folder / LOCK)
    words = rf"hydra\.run\.dir=outputs/mine: another process is at work there; .* \(process {process.pid} on "
    with pytest.raises(UserError, match=words), held_folder(NAMED, folder):
        pass
    process.kill()
    process.communicate()
    (folder / ".partial-0a1b2c3d.json").write_text("half of")
    (folder / ".partial-4e5f6a7b").mkdir()
    with held_folder(NAMED, folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(UserError, match=rf"{tmp_path}/\.lock: .* name a folder on another file system"),
        held_folder(NAMED, tmp_path),
    ):
        pass
