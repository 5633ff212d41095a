"""The line on runs whose texts are read by other code today."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.run_folder.text_reading import NOTE, tell_other_reading, text_code


def told(state: dict[str, object], capsys: pytest.CaptureFixture[str]) -> str:
    tell_other_reading(Path("mine"), state)
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_nothing_is_said_of_a_run_whose_texts_are_read_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert told({"origins": {NOTE: text_code()}}, capsys) == ""


def test_what_reads_texts_otherwise_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    noted = text_code() | {"models.words": "0" * 24, "align3d.captions": ""}
    line = told({"origins": {NOTE: noted}}, capsys)
    assert line.count("\n") == 1
    assert "run=mine: text is read otherwise than when this run was trained" in line
    assert "trained: align3d.captions, models.words changed" in line


@pytest.mark.parametrize("state", [{}, {"origins": None}, {"origins": {}}, {"origins": {NOTE: "x"}}])
def test_an_older_run_is_said_to_note_nothing(
    state: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "run=mine: does not note by which code it read texts" in told(state, capsys)
