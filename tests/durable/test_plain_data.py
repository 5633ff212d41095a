"""Plain data within bounds: bombs are refused at once, and every fault is one line that names the file."""

import json
import os
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from durable.errors import DamagedFileError
from durable.plain_data import Bounds, read_json, read_yaml

SOON = 2.0
"""Seconds for a refusal, on a machine that does other things as well; eight levels of aliases took hours."""


def levels(count: int, width: int = 10) -> str:
    """Aliases of aliases, that unfold to ``width ** count`` values."""
    lines = [f"a0: &a0 [{','.join('x' * width)}]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * width)}]" for n in range(1, count + 1)]
    return "\n".join(lines)


BOMBS = {
    "eight levels of aliases": levels(8),
    "an alias of itself": "a: &a [*a]",
    "deep lists": "[" * 200_000,
    "deep mappings": "{a: " * 50_000,
    "deep blocks": "\n".join(" " * depth + "a:" for depth in range(600)),
    "many values": "- 1\n" * 60_000,
    "a large file": "a" * 10_000_000,
    "a long number": "a: " + "9" * 100_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_yaml_bombs_are_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(DamagedFileError) as caught:
        read_yaml(path)
    assert time.process_time() - start < SOON
    assert str(caught.value).startswith(f"{path}: cannot be read (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\x00",
        b"\ta: 1",
        b"a: [1",
        b"a: 1\na: 2",
        b"a: {b: 1, b: 2}",
        b"1: 2",
        b"[1]: 2",
        b"a: 1\n---\nb: 2",
        b"a: !!python/object/apply:os.system [true]",
        b"a: !!python/name:os.system",
        b"a: !!binary aGk=",
        b"a: !!set {b}",
        b"a: !own 1",
        b"a: !!int x",
        b'a: "\\ud800"',
        b'"\\ud800": 1',
        b"%YAML 3.0\n--- a",
    ],
)
def test_yaml_that_is_no_plain_data_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: cannot be read (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000,
        "[" * 70 + "]" * 70,
        "9" * 100_000,
        "",
        "{",
        "[1,2",
        '"\\ud800"',
        "[" + "1," * 999 + "1]",
    ],
)
def test_json_that_breaks_a_bound_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DamagedFileError) as caught:
        read_json(path, Bounds(size=1 << 24, values=1000))
    assert str(caught.value).startswith(f"{path}: cannot be read (")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "nowhere"):
        for read in (read_json, read_yaml):
            with pytest.raises(DamagedFileError, match="cannot be read"):
                read(path)


def test_values_are_those_of_the_settings_that_were_written(tmp_path: Path) -> None:
    values = {
        "rates": [1e-05, 1e5, -0.5, float("inf"), 0.1, 3],
        "texts": ["off", "1e-3", "2026-01-01", "null", "12:30", "a: b", "ü", "", "~", "0x10"],
        "flags": {"yes": True, "no": None},
        "nothing": [],
        "none": {},
    }
    (tmp_path / "a.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)))
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_yaml(tmp_path / "a.yaml") == values == read_json(tmp_path / "a.json")


def test_nothing_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: ${oc.env:HOME}\nb: ${a}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": "${oc.env:HOME}", "b": "${a}"}
