"""Files that are replaced as a whole, and what is left where that fails."""

from pathlib import Path

import pytest

from durable.whole_files import replacing, write_text


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "grün")
    write_text(path, "blau")
    assert path.read_text(encoding="utf-8") == "blau"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_text("half of the n")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
