"""Tables as people have them: each reads right, or is refused in one line that names file, line and fault."""

import codecs
import csv
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from align3d.errors import DataError
from align3d.table_file import Columns, Row, csv_records, read_rows

COLUMNS = Columns(("path", "caption"), ("category", "license", "up"), repeated="caption")


def rows(tmp_path: Path, name: str, content: bytes | str) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, COLUMNS, f"table {path.name}"))


def plain(found: list[Row]) -> list[tuple[str, list[str]]]:
    return [(row.text("path"), row.cells["caption"]) for row in found]


def fault(tmp_path: Path, name: str, content: bytes | str) -> str:
    with pytest.raises(DataError) as error:
        rows(tmp_path, name, content)
    assert "\n" not in str(error.value)
    return str(error.value)


GERMAN = 'path,caption\na.stl,a box\nb.stl,"grüne Stühle, 2 m"\n'
JSON = '{"path": "a.stl", "caption": "a box"}\n{"path": "b.stl", "caption": "grüne Stühle, 2 m"}\n'
BOTH = [("a.stl", ["a box"]), ("b.stl", ["grüne Stühle, 2 m"])]


@pytest.mark.parametrize(("name", "text"), [("a.csv", GERMAN), ("a.jsonl", JSON), ("a.CSV", GERMAN)])
@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_byte_order_mark_and_line_end(
    tmp_path: Path, name: str, text: str, bom: bytes, encoding: str, end: str
) -> None:
    assert plain(rows(tmp_path, name, bom + text.replace("\n", end).encode(encoding))) == BOTH


def test_a_byte_order_mark_within_is_no_text(tmp_path: Path) -> None:
    again = "path,caption\na.stl,a box\n\ufeffb.stl,\ufeffa chair\n"
    assert plain(rows(tmp_path, "a.csv", again)) == [("a.stl", ["a box"]), ("b.stl", ["a chair"])]
    assert plain(rows(tmp_path, "a.jsonl", JSON.replace("\n", "\n\ufeff"))) == BOTH


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            GERMAN.encode("latin-1"),
            "line 3: byte 0xfc, number 10 of the line, is not UTF-8; save the file as",
        ),
        (GERMAN.encode("cp1252"), "line 3: byte 0xfc"),
        ("path,caption\na.stl,红色椅子\n".encode("gbk"), "line 2: byte 0xba, number 7 of the line"),
        (GERMAN.encode("utf-16-le"), "line 1: a NUL character|byte 0x"),
        (codecs.BOM_UTF16_LE + GERMAN.encode("utf-16-le")[:-1], "is not UTF-16-LE"),
        (b"path,caption\na.stl,a\0box\n", "line 2: a NUL character"),
    ],
)
def test_other_encodings_are_refused_by_line_and_byte(tmp_path: Path, content: bytes, told: str) -> None:
    message = fault(tmp_path, "a.csv", content)
    assert message.startswith("table a.csv, line ")
    assert any(part in message for part in told.split("|")), message


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f"path{delimiter}caption\na.stl{delimiter}a box, red\n"
    text += f'b.stl{delimiter}"x{delimiter}y"\n'
    expected = [("a.stl", ["a box, red"]), ("b.stl", [f"x{delimiter}y"])]
    assert plain(rows(tmp_path, "a.csv", text)) == expected
    assert plain(rows(tmp_path, "a.tsv", text)) == expected


def test_headers_in_other_case_with_blanks_and_trailing_commas(tmp_path: Path) -> None:
    found = rows(tmp_path, "a.csv", '\n Path , "Caption",CATEGORY,,\na.stl,a box,boxes,,\n,,,,\n')
    assert plain(found) == [("a.stl", ["a box"])]
    assert (found[0].text("category"), found[0].where, found[0].problem) == ("boxes", "line 3", "")


@pytest.mark.parametrize(
    "header", ["path,caption,caption", "path,caption,Caption_2", "path,caption,caption.1"]
)
def test_every_caption_column_counts(tmp_path: Path, header: str) -> None:
    assert plain(rows(tmp_path, "a.csv", f"{header}\na.stl,a box,a cube\n")) == [
        ("a.stl", ["a box", "a cube"])
    ]
    assert plain(rows(tmp_path, "a.jsonl", '{"path": "a.stl", "caption": "a box", "caption": "a cube"}')) == [
        ("a.stl", ["a box", "a cube"])
    ]
    table = pa.Table.from_arrays(
        [pa.array(["a.stl"]), pa.array(["a box"]), pa.array(["a cube"])], header.split(",")
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert plain(list(read_rows(tmp_path / "a.parquet", COLUMNS, ""))) == [("a.stl", ["a box", "a cube"])]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("path,path,caption", "has 2 columns path; expected one"),
        ("path,caption,category,Category", "has 2 columns category; expected one"),
        (
            "path,caption,cateogry",
            "expected path, caption[, category, license, up], found path, caption, cateogry; did",
        ),
        ("path,caption,licence", "did you mean license by licence?"),
        ("pth,caption", "has no column path; expected"),
        ("path;text", "has no column caption; expected"),
        (",,", "has no column path and caption; expected path, caption"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, header: str, told: str) -> None:
    assert told in fault(tmp_path, "a.csv", f"{header}\na,b,c,d\n")


def test_a_column_of_another_name_is_left_alone(tmp_path: Path) -> None:
    text = "id,path,caption,category,category_id\n1,a.stl,a box,boxes,7\n"
    (row,) = rows(tmp_path, "a.csv", text)
    assert row.cells == {"path": ["a.stl"], "caption": ["a box"], "category": ["boxes"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'path,caption\na.stl,a box\nb.stl,"a chair\nc.stl,a lamp\n',
            "table a.csv, line 3: a quote opens before 'a chair' and is never closed; close it, and",
        ),
        (
            'path,caption\na.stl,"a box\nb.stl,"a chair"\n',
            "line 2: a quote opens before 'a box', and behind its end on line 3 comes 'a chair\"'",
        ),
        (
            'path,caption\na.stl,"two\nlines",\nb.stl,"18" shelf"\n',
            "line 4: a quote opens before '18\" shelf\"', and behind its end on line 4 comes 'shelf\"'",
        ),
        (
            'path,caption,up\na.stl,"two\nlines","z\n',
            "line 3: a quote opens before 'z' and is never closed",
        ),
    ],
)
def test_a_quote_that_goes_wrong_is_named_by_the_line_where_it_opened(
    tmp_path: Path, text: str, told: str
) -> None:
    assert told in fault(tmp_path, "a.csv", text)


def test_short_and_long_rows_have_a_problem(tmp_path: Path) -> None:
    text = "path,caption,up\na.stl\nb.stl,a box\nc.stl,a box,z,,\nd.stl,a box, red, z\n"
    found = {row.text("path"): row.problem for row in rows(tmp_path, "a.csv", text)}
    assert found["a.stl"] == "1 of 3 values, none for caption (line 2)"
    assert found["b.stl"] == found["c.stl"] == ""
    assert found["d.stl"].startswith("more values than columns: put quotes around a caption")


@pytest.mark.parametrize("seed", range(300))
def test_records_are_those_of_the_standard_library(seed: int) -> None:
    source = random.Random(seed)
    table = [
        [
            "".join(source.choices('ab ,;"\n\r\té', k=source.randint(0, 6)))
            for _ in range(source.randint(1, 4))
        ]
        for _ in range(source.randint(1, 5))
    ]
    delimiter, end = source.choice(",;\t"), source.choice(["\n", "\r\n"])
    quoting = source.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(table)
    text = out.getvalue()
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    expected, line = [], 1
    for cells in reader:
        expected += [(line, cells)] if any(cells) else []
        line = reader.line_num + 1
    assert list(csv_records(text, delimiter, "")) == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"path": "b.stl", ', "line 2: not JSON (Expecting property name"),
        (
            "{'path': 'b.stl'}",
            "line 2: not JSON (Expecting property name enclosed in double quotes, at character 2)",
        ),
        ('["b.stl", "x"]', 'line 2: expected an object, found \'["b.stl"'),
        ('{"path": "b.stl"}', "line 2 has no column caption"),
        ("[" * 100_000, "line 2: not JSON that can be read"),
        ('{"path": "b.stl", "path": "c.stl", "caption": "x"}', "line 2 has 2 columns path"),
    ],
)
def test_bad_lines_of_jsonl(tmp_path: Path, line: str, told: str) -> None:
    good = json.dumps({"path": "a.stl", "caption": "a box"})
    assert told in fault(tmp_path, "a.jsonl", f"{good}\n{line}\n{good}\n")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('["a", "b"]', "a list as caption: expected a text, and a row for each caption (line 1)"),
        ('{"en": "a"}', "a dict as caption: expected a text (line 1)"),
        ("true", "a bool as caption: expected a text (line 1)"),
        (r'"\ud800"', "character U+D800 in caption, which is no text (line 1)"),
        (r'"a\u0000b"', "character U+0000 in caption, which is no text (line 1)"),
        ("null", ""),
        ("NaN", ""),
        ("555", ""),
    ],
)
def test_values_that_are_no_texts(tmp_path: Path, value: str, told: str) -> None:
    (row,) = rows(tmp_path, "a.jsonl", f'{{"path": "a.stl", "caption": {value}}}')
    assert row.problem == told
    assert row.cells["caption"] == (["555"] if value == "555" else [""])


def test_parquet_of_odd_types(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\x00\x00\x00\x00\x01\x00\x00\x00"), pa.py_buffer(b"\xff")]
    )
    for column, cell, told in (
        (pa.array([b"a box"]), "a box", ""),
        (pa.array(["a box"]).dictionary_encode(), "a box", ""),
        (pa.array(["a box"], pa.large_string()), "a box", ""),
        (pa.array([None], pa.string()), "", ""),
        (pa.array([None]), "", ""),
        (pa.array([7]), "7", ""),
        (pa.array([b"\xff"]), "", "bytes as caption that are not UTF-8 (row 1)"),
        (broken, "", "bytes as caption that are not UTF-8 (row 1)"),
        (pa.array([["a box"]]), "", "a list as caption: expected a text, and a row for each caption (row 1)"),
        (pa.array([{"en": "a box"}]), "", "a dict as caption: expected a text (row 1)"),
        (pa.array([True]), "", "a bool as caption: expected a text (row 1)"),
        (pa.array([0], pa.date32()), "", "a date as caption: expected a text (row 1)"),
    ):
        pq.write_table(pa.table({"Path": ["a.stl"], "caption": column, "n": [1]}), tmp_path / "a.parquet")
        (row,) = read_rows(tmp_path / "a.parquet", COLUMNS, "")
        assert (row.text("caption"), row.problem) == (cell, told), column.type
