"""Fuzzer of captions files: CSV, TSV, JSONL and Parquet, and the paths, captions and units in them."""

from __future__ import annotations

import io
import json
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from align3d.building.shards import ShardTask
from align3d.building.stages import Recipe
from align3d.errors import DataError
from align3d.record import Record
from align3d.sources.folder import FolderSource
from align3d.store import arrow_schema, write_shard
from tests.attack.limited_child import Findings, LimitedChild, Verdict
from tests.attack.mesh_fuzzer import mutated

Random = np.random.Generator
_ROWS = [
    {"path": "a.xyz", "caption": 'a red, "round" chair', "category": "seat", "unit": "mm", "up": "y"},
    {"path": "b/größe.xyz", "caption": "ein Stuhl, 5 € teuer", "category": "", "unit": "0.01", "up": ""},
    {"path": "a.xyz", "caption": "椅子 👩\u200d🔧", "category": "seat", "unit": "mm", "up": "y"},
    {"path": "gone.xyz", "caption": "nothing", "category": "", "unit": "", "up": "z"},
]
_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\x1b]0;t\x07",
        "\u202e",
        "\ud800",
        "\udce9",
        "\\ud800",
        "[/b]x",
        "x" * 300,
        "é" * 200,
        "../a.xyz",
    ),
    *(
        "/etc/passwd",
        "C:\\a.xyz",
        "a.xyz/",
        ".",
        "..",
        "a.xyz/../a.xyz",
        "//a.xyz",
        "b",
        "b/" * 3000 + "a",
        "~",
        "nul",
    ),
    *(
        '"',
        '""',
        "a\nb.xyz,c",
        "\r",
        "\x85",
        "\u2028",
        "1e400",
        "nan",
        "inf",
        "-1",
        "1e-320",
        "9" * 400,
        "µm",
        "x y",
    ),
    *("{}", "[1]", "null", "true", "a" * 100_000, "path", "caption", "=cmd()", "\ufeff", "\u0301", "\u200b"),
)


@cache
def good_files() -> dict[str, bytes]:
    """Sound captions files, by name."""
    names = list(_ROWS[0])

    def table(delimiter: str, rows: list[dict[str, str]]) -> bytes:
        cells = [names, *(list(row.values()) for row in rows)]
        quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in cells]
        return "\n".join(delimiter.join(row) for row in quoted).encode()

    plain = b"path,caption\na.xyz,a chair\nb/gr\xc3\xb6\xc3\x9fe.xyz,a table\n"
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_ROWS), parquet)
    return {
        "captions.csv": table(",", _ROWS),
        "plain.csv": plain,
        "semicolon.csv": table(";", _ROWS),
        "utf16.csv": table(",", _ROWS).decode().encode("utf-16"),
        "captions.tsv": table("\t", _ROWS),
        "captions.jsonl": "\n".join(json.dumps(row) for row in _ROWS).encode(),
        "captions.parquet": parquet.getvalue(),
    }


def with_text(name: str, rng: Random) -> bytes:
    """A captions file with hostile texts in its cells, or of an odd shape."""
    rows = [dict(row) for row in _ROWS]
    for _ in range(int(rng.integers(1, 4))):
        row = rows[int(rng.integers(len(rows)))]
        key = str(rng.choice(list(row)))
        if rng.random() < 0.1:
            row[str(_TEXTS[int(rng.integers(len(_TEXTS)))])] = "more"
        row[key] = _TEXTS[int(rng.integers(len(_TEXTS)))]
    if name.endswith(".parquet"):
        kinds = [pa.string(), pa.binary(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
        kind = kinds[int(rng.integers(len(kinds)))]
        file = io.BytesIO()
        columns = {
            key.encode("utf-8", "replace").decode(): [
                row.get(key, "").encode("utf-8", "replace").decode() for row in rows
            ]
            for key in rows[0]
        }
        values = {key: pa.array(column).cast(kind) for key, column in columns.items()}
        pq.write_table(pa.table(values), file)
        return file.getvalue()
    if name.endswith(".jsonl"):
        return "\n".join(json.dumps(row, ensure_ascii=bool(rng.integers(2))) for row in rows).encode(
            "utf-8", "surrogatepass"
        )
    delimiter = "\t" if name.endswith(".tsv") else ","
    lines = [list(_ROWS[0]), *(list(row.values()) for row in rows)]
    if rng.random() < 0.1:
        times = min(
            int(rng.choice([3, 20_000])), 1 + 4_000_000 // sum(len(cell) for line in lines for cell in line)
        )
        lines = [line * times for line in lines]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in lines]
    return "\n".join(delimiter.join(line) for line in quoted).encode("utf-8", "surrogatepass")


def attempt(folder: str, name: str, content: bytes) -> Verdict:
    """Read a captions file and the items that it names as a build would, and write what comes of them."""
    root = Path(folder)
    captions = root / f"captions{Path(name).suffix}"
    captions.write_bytes(content)
    source = FolderSource(root, captions=captions.name)
    try:
        items = source.items()
    except DataError as error:
        return Verdict("refused" if str(error) else "refused without a reason", str(error))
    finally:
        captions.unlink()
    task = ShardTask(source, root, Recipe(8, 0), arrow_schema(8))
    outcomes = [task.outcome(item) for item in items]
    records = [one for one in outcomes if isinstance(one, Record)]
    if records:
        write_shard(root / "shard.arrow", records, task.schema)
    for item, one in zip(items, outcomes, strict=True):
        if not isinstance(one, Record):
            json.dumps([one.item, one.reason], ensure_ascii=False).encode()
            if "Error: " in one.reason:
                return Verdict("refused in a program's words", f"{item.id[:80]!r}: {one.reason}")
    return Verdict("read")


def attack(seconds: float, seed: int, keep: Path | None = None) -> Findings:
    """Read damaged and hostile captions files until the time is up.

    Args:
        seconds: Seconds on the clock.
        seed: Seed of the files.
        keep: Folder for one file of each kind of fault; None keeps none.
    """
    rng = np.random.default_rng(seed)
    found, end = Findings(), time.monotonic() + seconds
    files = good_files()
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder, LimitedChild(f"{__name__}:attempt") as child:
        prepare(Path(folder))
        while time.monotonic() < end:
            name = names[int(rng.integers(len(names)))]
            content = files[name] if rng.random() < 0.5 else with_text(name, rng)
            if rng.random() < 0.7:
                content = mutated(name, content, rng)
            content = content[: 1 << 22]
            found.add(name, content, child.try_case(folder, name, content))
    if keep is not None:
        found.save(keep)
    return found


def prepare(folder: Path) -> None:
    """Put down the clouds that the good files name."""
    (folder / "b").mkdir(exist_ok=True)
    for name in ("a.xyz", "b/größe.xyz"):
        (folder / name).write_text("0 0 0\n1 0 0\n0 1 0\n")


if __name__ == "__main__":
    import sys

    seconds, seed, *rest = sys.argv[1:]
    print(attack(float(seconds), int(seed), Path(rest[0]) if rest else None))
