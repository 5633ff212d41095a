"""Datasheets: figures that are right, the same bytes each time, and content that cannot fool them."""

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image

import align3d.datasheet
from align3d import Item, Record, ShapeDataset
from align3d.console.terminal import on_one_line
from align3d.datasheet import datasheet, write_datasheet
from align3d.decisions import Decision, write_decisions
from align3d.describing.contact_sheet import chosen_shapes, draw_points
from align3d.describing.datasheet_text import command_line, command_of
from align3d.describing.foreign_markdown import literal, markdown_table
from align3d.pipeline import build
from tests.align3d.toy_source import Boxes

EVIL = [
    '<script>alert("x")</script>',
    "![pixel](https://evil.example/a.png) [click](javascript:alert(1))",
    "a | b \\| c \\\\| d",
    "``` \n# heading\n- item\n| x | y |\n|---|---|",
    "https://evil.example www.evil.example <https://evil.example> you@evil.example",
    "*bold* _it_ ~~gone~~ `code` $x^2$ :smile: &lt;b&gt; [^1] [ref]: x",
    "\u202etxt.exe\x1b[31m\x00",
    "1. one",
    "---",
    "license: mit\n---\n",
]


class Hostile(Boxes):
    """Boxes whose names and captions try to be more than text."""

    name = "hostile"

    def read(self, item: Item, points: int, seed: int) -> Record:
        text = EVIL[int(item.payload) % len(EVIL)]
        record = super().read(item, points, seed)
        return replace(
            record,
            captions=(text, f"{text} again"),
            category=text,
            license=text,
            part_names=(text,),
            part=np.zeros(points, np.int16),
            size_m=np.array([0.5, 1.0, 2.0], np.float32),
        )


def built(tmp_path: Path, source: Any = None, points: int = 64) -> ShapeDataset:
    return build(source or Boxes(20), tmp_path / "set", points=points, workers=1, progress=False)


def sheet_of(dataset: ShapeDataset, **more: Any) -> str:
    return datasheet(dataset, **more)["README.md"].decode()


def rows_of(sheet: str, head: str) -> dict[str, str]:
    """First and last cell of the rows of the table whose first column is called so."""
    table = sheet[sheet.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in table]
    return {row[0]: row[-1] for row in cells}


def test_the_figures_are_those_of_the_dataset(tmp_path: Path) -> None:
    dataset = built(tmp_path)
    sheet = sheet_of(dataset)
    assert f"{len(dataset):,} shapes of 64 colored points each" in sheet
    assert rows_of(sheet, "rejected for") == {"a box of no size": str(len(dataset.rejections))}
    assert rows_of(sheet, "source") == {"boxes": str(len(dataset))}
    longest = dataset.size_m(slice(None)).max(axis=1)
    extents = sheet[sheet.index("| longest side |") :].splitlines()[0].strip("| ").split(" | ")
    assert extents[1:] == [f"{np.percentile(longest, at):.3g}" for at in (0, 5, 50, 95, 100)]
    words = sum(int(count) for count in re.findall(r"\| \d.*? \| (\d+) \| [█▏]", sheet))
    assert words == sum(map(len, dataset.captions))
    assert dataset.hash in sheet
    assert dataset.manifest.key in sheet


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    first = datasheet(built(tmp_path / "a"))
    again = datasheet(build(Boxes(20), tmp_path / "b" / "other", points=64, workers=2, progress=False))
    assert first == again
    picture = Image.open(io.BytesIO(next(content for name, content in first.items() if name.endswith("png"))))
    assert picture.size == (880, 660)
    assert not picture.info.keys() - {"transparency"}  # no dates, no programs


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    dataset = built(tmp_path, Hostile(20))
    rejections = [Decision("x", "reject", f"{text}: because", text) for text in EVIL]
    sheet = sheet_of(dataset, decisions=rejections, command="python -m align3d.build source=a```b")
    body = sheet.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    inner = [child for token in tokens for child in token.children or []]
    assert {token.type for token in inner} <= {"text", "text_special", "code_inline", "softbreak", "image"}
    assert not [token for token in tokens if token.type.startswith(("html", "blockquote", "ordered"))]
    images = [token.attrs["src"] for token in inner if token.type == "image"]
    assert images == [f"{dataset.manifest.data}/shapes.png"]
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert len(headings) == len(re.findall(r"^#+ ", body, re.MULTILINE)) == 9
    shown = [token.content for token in inner if token.type in ("text", "text_special")]
    assert any('<script>alert("x")</script>' in text for text in "".join(shown).split("\n"))
    assert "\u202e" not in sheet
    assert "\x1b" not in sheet
    # each table's rows have as many cells as its head: no pipe of a caption has made another
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    header = yaml.safe_load(sheet.split("\n---\n")[0])
    assert header["license"] == "other"
    assert header["align3d"]["command"] == "python -m align3d.build source=a```b"


@pytest.mark.parametrize("text", EVIL)
def test_a_literal_reads_as_the_text_itself(text: str) -> None:
    inline = MarkdownIt("commonmark").enable("table").parseInline(literal(text))[0]
    plain = "".join(child.content for child in inline.children or [])
    assert plain == " ".join(on_one_line(text).split())
    assert literal("x" * 500).endswith("…")
    assert len(literal("x" * 500)) == 160
    assert markdown_table(("a", "n"), [(literal("p|q"), 1234)]).splitlines()[-1] == "| p&#124;q | 1,234 |"


def test_the_hub_and_datasets_read_the_header(tmp_path: Path) -> None:
    import datasets

    dataset = built(tmp_path)
    write_datasheet(dataset, command="python -m align3d.build source=boxes")
    card = huggingface_hub.DatasetCard.load(dataset.path / "README.md")
    assert card.data.size_categories == ["n<1K"]
    assert card.data.license == "cc0-1.0"
    uploaded = tmp_path / "uploaded"  # on the hub there is no load_from_disk, which state.json is for
    shutil.copytree(dataset.path, uploaded, ignore=shutil.ignore_patterns("state.json"))
    rows = datasets.load_dataset(str(uploaded), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows["id"] == dataset.ids
    assert ShapeDataset.load(dataset.path, verify=True).hash == dataset.hash
    assert datasets.load_from_disk(str(dataset.path))["id"] == dataset.ids


def test_the_command_writes_the_sheet_anew_and_keeps_what_only_the_build_knew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = built(tmp_path)
    command = command_line("align3d.build", {"source": "boxes", "families": "a b", "root": None})
    assert command == "python -m align3d.build source=boxes 'families=a b'"
    decision = Decision("box-0001", "drop_caption", "language: French", "language", "une boîte")
    write_decisions(dataset.path / dataset.manifest.data / "decisions.jsonl", [decision])
    write_datasheet(dataset, command=command)
    before = (dataset.path / "README.md").read_bytes()
    assert command_of(before.decode()) == command
    assert b"| language | drop&#95;caption | language | 1 |" in before
    assert align3d.datasheet.main([f"dataset={dataset.path}"]) == 0
    assert (dataset.path / "README.md").read_bytes() == before
    assert align3d.datasheet.main([f"dataset={tmp_path / 'none'}"]) == 2
    assert "no dataset at" in capsys.readouterr().err


def test_a_build_takes_the_sheet_for_its_own(tmp_path: Path) -> None:
    write_datasheet(built(tmp_path))
    again = built(tmp_path, Boxes(30))
    assert len(again) > 20
    write_datasheet(again)
    next(again.path.glob("data-*/data-*.arrow")).unlink()
    assert len(built(tmp_path, Boxes(30))) == len(again)  # a damaged folder with a sheet is still a build's


def test_shapes_are_shown_of_as_many_categories_as_can_be(tmp_path: Path) -> None:
    dataset = built(tmp_path, Hostile(40))
    rows = chosen_shapes(dataset)
    assert len(set(rows)) == 12
    assert len({dataset.categories[row] for row in rows}) == len(set(dataset.categories))


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_the_up_axis_points_up_and_the_nearer_point_covers_the_farther(up: str) -> None:
    high, low = np.zeros(3), np.zeros(3)
    high["xyz".index(up)], low["xyz".index(up)] = 1, -1
    picture = draw_points(
        np.array([high, low], np.float16), np.array([[255, 0, 0], [0, 0, 255]], np.uint8), up, 64
    )
    red = np.argwhere(picture[..., 0].astype(int) > picture[..., 2].astype(int) + 60)
    blue = np.argwhere(picture[..., 2].astype(int) > picture[..., 0].astype(int) + 60)
    assert red[:, 0].max() < 32 < blue[:, 0].min()
