"""Filters from a command line, by name or as package.module:Class, and their run one after another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.errors import UserError
from align3d.filters import Remaining, decisions_of, make_filter
from align3d.filters.filter_settings import filters_of
from align3d.pipeline import build
from tests.align3d.toy_source import Boxes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return build(Boxes(5), tmp_path_factory.mktemp("boxes") / "set", points=64, workers=1, progress=False)


class Even:
    """A filter of a user's own: shapes of even rows, and the first caption of what is left.

    Args:
        least: First row that is judged.
    """

    name = "even"

    def __init__(self, least: int = 0) -> None:
        self.least = least

    def fingerprint(self) -> str:
        return f"even {self.least}"

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        for row in remaining.rows.tolist():
            if row >= self.least and row % 2 == 0:
                yield remaining.reject(row, "even: its row", self.name)


class First(Even):
    """A filter that drops each shape's first caption."""

    name = "first"

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        ids = remaining.dataset.ids
        for row, texts in zip(remaining.rows.tolist(), remaining.captions, strict=True):
            yield Decision(ids[row], "drop_caption", "first: it is", self.name, caption=texts[0])


EVEN, FIRST = f"{__name__}:Even", f"{__name__}:First"


def test_filters_and_settings_come_from_the_command_line() -> None:
    words = ["source=boxes", f"filters=[length,{EVEN}]", "filters.even.least=2", "filters.length.min_words=3"]
    made, others = filters_of([*words, "out=x"])
    assert [one.name for one in made] == ["length", "even"]
    assert vars(made[0])["min_words"] == 3
    assert vars(made[1]) == {"least": 2}
    assert others == ["source=boxes", "out=x"]
    assert [one.name for one in filters_of([], ["length"])[0]] == ["length"]
    assert filters_of(["filters=[]"], ["length"])[0] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["filters=lenght"], "filters=lenght: no such filter; did you mean length?"),
        (["filters=length,length"], "length stands there twice"),
        (["filters=length", "filters.length.min_word=3"], "filters.length.min_word: no such setting; did"),
        (["filters=length", "filters.length.min_words=0"], "filters.length.min_words=0: expected"),
        (["filters=length", "filters.even.least=0"], "even is not among filters=length"),
        (["filters=length", "filters.length=3"], "expected filters.NAME.SETTING=VALUE"),
        (["filters=length", "filters=length"], "given twice"),
        (["filters=length", "filters.length.min_words=9", "filters.length.max_words=3"], "is above"),
        ([f"filters={__name__}:filters_of"], "expected a class with name, fingerprint, decide"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        filters_of(words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_filter_sees_what_those_before_it_left(boxes: ShapeDataset) -> None:
    made = decisions_of(boxes, [make_filter(EVEN), make_filter(FIRST)], progress=False)
    assert [(one.item[-1], one.by) for one in made] == [
        ("0", "even"),
        ("2", "even"),
        ("4", "even"),
        ("1", "first"),
        ("3", "first"),
    ]
    assert made[0].item_hash == boxes.content_hashes[0]


def test_a_filter_sees_what_people_decided(boxes: ShapeDataset) -> None:
    people = [
        Decision("box-0000", "accept", "reviewed", "reviewer:ada"),
        Decision("box-0001", "reject", "reviewed: broken", "reviewer:ada"),
        Decision("box-0003", "edit_caption", "reviewed", "reviewer:ada", "box number 3", "a third box"),
    ]
    remaining = Remaining.after(boxes, people)
    assert remaining.rows.tolist() == [0, 2, 3, 4]
    assert remaining.captions[2] == ["a box of 1 x 4"]
    made = decisions_of(boxes, [make_filter(EVEN), make_filter(FIRST)], before=people, progress=False)
    # The accepted box stays although a filter said no: what comes after still sees it.
    assert [one.item for one in made if one.by == "first"] == ["box-0000", "box-0003"]


def test_the_fingerprint_is_that_of_the_settings(tmp_path: Path) -> None:
    assert make_filter("length").fingerprint() == make_filter("length", min_words=1).fingerprint()
    assert make_filter("length").fingerprint() != make_filter("length", min_words=2).fingerprint()
