"""The command that shows what filters decide, and writes it down."""

from pathlib import Path

import pytest

from align3d import filter as command
from align3d.decisions import Decision, read_decisions, settle, write_decisions
from align3d.pipeline import build
from tests.align3d.filters.described_shapes import Described


def test_decisions_are_shown_and_written_and_can_be_undone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = [("a red chair", "untitled"), ("untitled",), ("a table with four legs",)]
    dataset = build(Described(captions), tmp_path / "set", points=64, workers=1, progress=False)
    arguments = [f"dataset={tmp_path / 'set'}", "filters=length"]
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "left: 2 of 3 shapes, 2 of 4 captions" in shown
    assert "2 captions" in shown
    made = read_decisions(tmp_path / "set.filters.jsonl")
    assert [(one.item, one.caption, one.by) for one in made] == [
        ("shape 0", "untitled", "length"),
        ("shape 1", "untitled", "length"),
    ]
    assert settle(dataset.content_hashes[0], captions[0], made[:1]).captions == ("a red chair",)
    assert settle(dataset.content_hashes[0], captions[0], []).captions == captions[0]
    people = Decision("shape 1", "reject", "reviewed", "reviewer:ada")
    write_decisions(tmp_path / "ada.jsonl", [people])
    out = tmp_path / "mine.jsonl"
    assert command.main([*arguments, f"before={tmp_path / 'ada.jsonl'}", f"out={out}"]) == 0
    assert [one.item for one in read_decisions(out)] == ["shape 0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["filters=length"], "dataset=DIR is missing"),
        (["train=labels.csv"], "model=FILE is missing"),
        (["dataset=x", "filters=lenght"], "did you mean length?"),
        (["dataset=nowhere", "filters=length"], "no dataset at nowhere"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_names_every_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in command.DEFAULT:
        assert f"filters={name}:" in shown
