"""Captions files of a folder: what is taken over from their rows, and what their quotes swallow."""

from pathlib import Path

import pytest

from align3d.errors import DataError
from align3d.sources.caption_file import find_captions_file, read_captions


def read(tmp_path: Path, text: str) -> dict[str, tuple[list[str], str]]:
    (tmp_path / "captions.csv").write_text(text, encoding="utf-8")
    entries = read_captions(find_captions_file(tmp_path))
    return {path: (entry.captions, entry.problem) for path, entry in entries.items()}


def test_rows_of_a_path_are_its_captions(tmp_path: Path) -> None:
    text = "path,caption,caption\na.stl,a box,a cube\n./a.stl,A  Box.,\nsub\\b.stl, a chair ,\n"
    assert read(tmp_path, text) == {"a.stl": (["a box", "a cube"], ""), "sub/b.stl": (["a chair"], "")}


def test_a_caption_may_go_over_lines(tmp_path: Path) -> None:
    text = 'path,caption\na.stl,"a box,\nfrom example.com, 2 m\nwide"\n'
    assert read(tmp_path, text) == {"a.stl": (["a box, from example.com, 2 m wide"], "")}


def test_a_quote_that_takes_in_another_row_is_refused(tmp_path: Path) -> None:
    text = 'path,caption\na.stl,a chair\nb.stl,"a box\nc.stl,a 2 m wide shelf"\nd.stl,a lamp\n'
    with pytest.raises(
        DataError, match=r"captions\.csv, line 3: a quote opens that takes in the row of 'c\.stl'"
    ):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "path", "problem"),
    [
        ("a.stl", "a.stl", "1 of 3 values, none for caption (line 2)"),
        ("a.stl, ,", "a.stl", "file without a caption: its rows in the captions file hold no text"),
        (",a box,", "captions.csv line 2", "caption without a path"),
        ("a.stl,a box, red, y", "a.stl", "more values than columns: put quotes around a caption that has"),
    ],
)
def test_the_problem_of_a_row_is_that_of_its_file(tmp_path: Path, row: str, path: str, problem: str) -> None:
    ((found, (_, told)),) = read(tmp_path, f"path,caption,up\n{row}\n").items()
    assert found == path
    assert told.startswith(problem)


def test_the_file_is_found_in_any_letter_case(tmp_path: Path) -> None:
    (tmp_path / "Captions.CSV").write_text("path,caption\na.stl,a box\n")
    assert find_captions_file(tmp_path).name == "Captions.CSV"
