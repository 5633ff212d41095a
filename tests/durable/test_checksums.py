"""Checksums find what was changed, cut or removed."""

import errno
import json
from pathlib import Path

import pytest

from durable.checksums import (
    check_files,
    checked_json,
    file_facts,
    find_named,
    write_json,
    write_named,
)
from durable.errors import DamagedFileError


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_every_flipped_bit_of_a_json_file_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    content = {"loss": 0.1, "names": ["größe", "b"], "steps": 12, "none": None, "nan": float("inf")}
    path = tmp_path / "state.json"
    write_json(path, content)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        path.write_bytes(whole)
        flipped(path, bit)
        try:
            found = checked_json(path, json.loads(path.read_text()))
        except (ValueError, AttributeError, TypeError):
            continue
        assert found == content, bit


def test_json_without_a_checksum_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    assert checked_json(path, {"a": 1}, needed=False) == {"a": 1}
    with pytest.raises(DamagedFileError, match=r"old\.json is damaged: has no checksum"):
        checked_json(path, {"a": 1})


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_files_are_compared_with_what_was_written_down(tmp_path: Path, harm: str) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(100))
    (tmp_path / "b.bin").write_bytes(bytes(100))
    facts = file_facts(tmp_path, ["a.bin", "b.bin"])
    check_files(tmp_path, facts)
    path = tmp_path / "b.bin"
    if harm == "flip":
        flipped(path, 333)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        path.unlink()
    with pytest.raises(DamagedFileError, match=r"b\.bin is "):
        check_files(tmp_path, facts)


def test_a_file_with_its_checksum_in_its_name_is_found_whole_or_set_aside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(content: bytes) -> Path:
        return write_named(tmp_path, "text-12", ".bin", lambda path: (path.write_bytes(content), None)[1])

    write(b"older")
    place = write(b"content")
    assert find_named(tmp_path, "text-12", ".bin") == place
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    assert find_named(tmp_path, "text-1", ".bin") is None
    flipped(place, 5)
    assert find_named(tmp_path, "text-12", ".bin") is None
    assert [path.name for path in tmp_path.iterdir()] == [f"{place.name}.damaged"]
    assert f"{place} is damaged" in capfd.readouterr().err


def test_what_is_damaged_and_cannot_be_moved_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"content")

    place = write_named(tmp_path, "text", ".bin", write)
    flipped(place, 5)

    def rename(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(DamagedFileError, match=rf"^{place} is damaged .*cannot be moved .*Read-only"):
        find_named(tmp_path, "text", ".bin")
    assert place.exists()


def test_what_another_process_set_aside_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"content")

    place = write_named(tmp_path, "text", ".bin", write)
    listed = list(tmp_path.iterdir())
    place.unlink()
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    assert find_named(tmp_path, "text", ".bin") is None
