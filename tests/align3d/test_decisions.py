"""Decisions: who stands above whom, captions by their normal form, files of lines."""

from pathlib import Path

import pytest

from align3d.decisions import Decision, read_decisions, settle, write_decisions
from align3d.errors import DataError

CAPTIONS = ("A red chair", "a chair with four legs")
FILTER = Decision("chair_7", "reject", "duplicate shape: of chair_1", "duplicate_shapes")
PERSON = Decision("chair_7", "accept", "reviewed: distinct", "reviewer:ada")


def test_without_decisions_everything_stays() -> None:
    outcome = settle("h", CAPTIONS, [])
    assert (outcome.rejected, outcome.captions, outcome.changes) == (None, CAPTIONS, ())


@pytest.mark.parametrize("order", [[FILTER, PERSON], [PERSON, FILTER]])
def test_a_person_stands_above_a_filter(order: list[Decision]) -> None:
    assert settle("h", CAPTIONS, order).rejected is None
    assert settle("h", CAPTIONS, [FILTER]).rejected == FILTER


def test_one_filter_does_not_undo_another() -> None:
    other = Decision("chair_7", "accept", "alignment: 0.9", "alignment")
    assert settle("h", CAPTIONS, [FILTER, other]).rejected == FILTER


def test_of_two_words_of_people_the_later_counts() -> None:
    again = Decision("chair_7", "reject", "reviewed: broken", "reviewer:bob")
    assert settle("h", CAPTIONS, [PERSON, again]).rejected == again
    assert settle("h", CAPTIONS, [again, PERSON]).rejected is None


def test_a_decision_about_another_shape_of_the_same_id_does_not_count() -> None:
    other = Decision("chair_7", "reject", "reviewed: broken", "reviewer:ada", item_hash="other")
    assert settle("h", CAPTIONS, [other]).rejected is None
    assert settle("other", CAPTIONS, [other]).rejected == other


def test_captions_are_known_by_their_normal_form() -> None:
    drop = Decision("chair_7", "drop_caption", "language: de", "language", caption="a red  chair.")
    edit = Decision("chair_7", "edit_caption", "reviewed: colors", "reviewer:ada", CAPTIONS[1], "a stool")
    outcome = settle("h", CAPTIONS, [drop, edit])
    assert outcome.captions == ("a stool",)
    assert outcome.changes == (drop, edit)


def test_a_shape_without_captions_is_left_out() -> None:
    drops = [
        Decision("chair_7", "drop_caption", "length: 3 words", "length", caption=one) for one in CAPTIONS
    ]
    assert settle("h", CAPTIONS, drops).rejected == drops[1]
    keep = Decision("chair_7", "keep_caption", "reviewed", "reviewer:ada", caption=CAPTIONS[0])
    assert settle("h", CAPTIONS, [keep, *drops]).captions == CAPTIONS[:1]


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    decisions = [FILTER, Decision("ß/1", "edit_caption", "reviewed: ü", "reviewer:ada", "\u2028x", "y")]
    write_decisions(path, decisions)
    assert read_decisions(path) == decisions


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"item": 3}', '{"item":"a","action":"eat","reason":"","by":""}']
)
def test_a_line_that_is_no_decision_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text('\n{"item":"a","action":"reject","reason":"x","by":"y"}\n' + line)
    with pytest.raises(DataError, match="line 3: no decision"):
        read_decisions(path)


def by_ada(action: str, caption: str, text: str = "") -> Decision:
    return Decision("chair_7", action, "edited: in review", "reviewer:ada", caption, text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([("edit_caption", "A red chair", "a chair"), ("edit_caption", "a chair", "a stool")], "a stool"),
        ([("edit_caption", "a chair", "a stool"), ("edit_caption", "A red chair", "a chair")], "a stool"),
        ([("edit_caption", "A red chair", "a chair"), ("drop_caption", "a chair")], None),
        ([("edit_caption", "A red chair", "a chair"), ("keep_caption", "a chair")], "a chair"),
        ([("edit_caption", "A red chair", "b"), ("edit_caption", "b", "a red chair")], "a red chair"),
        ([("edit_caption", "A red chair", "a red, chair")], "a red, chair"),
        ([("edit_caption", "A red chair", "b"), ("keep_caption", "A red chair")], "A red chair"),
    ],
)
def test_what_a_caption_became_is_decided_about_as_well(
    decisions: list[tuple[str, ...]], expected: str | None
) -> None:
    outcome = settle("h", CAPTIONS[:1], [by_ada(*one) for one in decisions])
    assert outcome.captions == (() if expected is None else (expected,))
