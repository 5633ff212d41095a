"""The attack itself: what it calls wrong is wrong, and a damage harms nothing but its file."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from durable.checksums import checked_json, json_bytes
from tests.attack.attack import judge
from tests.attack.attack_figures import Figures
from tests.attack.damage import DAMAGES, damage
from tests.attack.forks import Reading
from tests.attack.manifest_fuzzer import change, seal_of, sealed
from tests.attack.victims import Kind
from tests.attack.world import World

VICTIM = Path("run/metrics.jsonl")
KIND = Kind("run: metrics", "run/metrics.jsonl", ("finished",), "record", missing=("no run",))
TRACE = "Traceback (most recent call last):\n  File x\nKeyError: 1"


def verdict(
    tmp_path: Path, reading: Reading, *, restored: bool = False, missing: bool = False, whole: object = None
) -> str:
    before, copy = World(tmp_path / "before"), World(tmp_path / "copy")
    for world, content in ((before, "whole"), (copy, "whole" if restored else "cut")):
        (world.folder / VICTIM).parent.mkdir(parents=True)
        (world.folder / VICTIM).write_text(content)
    if missing:
        (copy.folder / VICTIM).unlink()
    return judge(KIND, "finished", VICTIM, before, copy, reading, whole or [1, 2]).verdict


@pytest.mark.parametrize(
    ("code", "err", "numbers", "expected"),
    [
        (0, "", [1, 2], "WRONG"),  # a record is lost in silence
        (0, "metrics.jsonl is damaged", [1, 2], "anew"),
        (0, "metrics.jsonl is damaged", [1, 3], "WRONG"),
        (2, "error: run/metrics.jsonl is damaged", None, "refused"),
        (2, "error: something is damaged", None, "WRONG"),
        (2, "usage: run/metrics.jsonl", None, "WRONG"),
        (2, f"{TRACE}\nerror: run/metrics.jsonl is damaged", None, "WRONG"),
        (1, TRACE, None, "WRONG"),
        (1, "metrics.jsonl is damaged", None, "WRONG"),
        (-11, "", None, "WRONG"),
        (None, "", None, "WRONG"),
    ],
)
def test_only_what_is_allowed_is_right(
    tmp_path: Path, code: int | None, err: str, numbers: list[int] | None, expected: str
) -> None:
    assert verdict(tmp_path, Reading(code, "", err, numbers)) == expected


def test_a_part_of_a_record_may_be_lost_where_that_is_told(tmp_path: Path) -> None:
    whole, left = {"results": 1, "metrics": [1, 2]}, {"results": 1, "metrics": [2]}
    for number, (err, found, expected) in enumerate(
        [
            ("metrics.jsonl lacks 1 line", left, "anew"),
            ("", left, "WRONG"),
            ("metrics.jsonl lacks 1 line", {**left, "results": 2}, "WRONG"),
        ]
    ):
        reading = Reading(0, "", err, found)
        assert verdict(tmp_path / str(number), reading, whole=whole) == expected


def test_what_is_there_again_was_made_anew(tmp_path: Path) -> None:
    assert verdict(tmp_path, Reading(0, "", "", [1, 2]), restored=True) == "anew"


def test_other_words_may_stand_for_a_file_that_is_missing_and_for_no_other(tmp_path: Path) -> None:
    refusal = Reading(2, "", "error: no run there", None)
    assert verdict(tmp_path / "missing", refusal, missing=True) == "refused"
    assert verdict(tmp_path / "there", refusal) == "WRONG"


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damage_changes_one_name_of_a_file(tmp_path: Path, how: str) -> None:
    whole, copy = tmp_path / "whole", tmp_path / "copy"
    whole.write_bytes(bytes(range(1, 200)))
    os.link(whole, copy)
    changed = whole.stat().st_mtime_ns
    assert damage(copy, how, random.Random(0))
    assert whole.read_bytes() == bytes(range(1, 200))
    if how == "delete":
        assert not copy.exists()
    else:
        assert copy.read_bytes() != whole.read_bytes()
        assert copy.stat().st_mtime_ns == changed


def test_a_fuzzed_manifest_has_the_checksum_of_its_content(tmp_path: Path) -> None:
    whole = json.loads(json_bytes({"schema": 1, "names": ["a", "b"], "sizes": {"a": 1, "b": 2}}))
    name, checksum = seal_of(whole)
    assert name == "checksum"
    for seed in range(50):
        changed, _ = change(json.loads(json.dumps(whole)), random.Random(seed))
        content = json.loads(sealed(changed, name, checksum))
        checked_json(tmp_path / "manifest.json", content)


def test_figures_add_up() -> None:
    figures = Figures()
    figures.count("meshes", "refused", 3)
    figures.count("meshes", "WRONG")
    figures.count("kills", "same")
    figures.fault("meshes", "seed 0", "it hangs")
    assert figures.faults == 1
    assert figures.as_json()["figures"][0] == {
        "kind": "meshes",
        "attacks": 4,
        "same": 0,
        "anew": 0,
        "refused": 3,
        "WRONG": 1,
    }
