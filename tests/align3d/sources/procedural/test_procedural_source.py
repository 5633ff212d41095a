"""The procedural source: the same everywhere, a prefix of itself, twins, errors."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from align3d import DataError, Record, Source, make_source
from align3d.record import check_record
from align3d.sources.procedural import FAMILIES, ProceduralSource

POINTS = 512


def same(a: Record, b: Record) -> bool:
    plain = ("id", "source", "category", "captions", "part_names", "up_axis", "license", "content_hash")
    arrays = ("points", "colors", "part", "size_m")
    return all(getattr(a, key) == getattr(b, key) for key in plain) and all(
        np.array_equal(getattr(a, key), getattr(b, key)) for key in arrays
    )


def read_all(source: Source, points: int = POINTS, seed: int = 0) -> list[Record]:
    return [source.read(item, points, seed) for item in source.items()]


def test_records_keep_the_contract_and_all_families_appear():
    source = make_source("procedural", size=2 * len(FAMILIES))
    assert isinstance(source, ProceduralSource)
    records = read_all(source)
    for record in records:
        check_record(record, POINTS)
        assert record.source == "procedural"
        assert record.license == "Apache-2.0"
        assert record.up_axis == "z"
        assert record.part.min() >= 0
    assert len({record.id for record in records}) == len(records)
    assert Counter(record.category for record in records) == dict.fromkeys(FAMILIES, 2)
    assert len(FAMILIES) >= 14


def test_the_same_request_gives_the_same_records_and_a_prefix():
    small, large = ProceduralSource(size=30, seed=5), ProceduralSource(size=90, seed=5)
    assert all(same(a, b) for a, b in zip(read_all(small), read_all(large), strict=False))
    item = large.items()[77]
    assert same(large.read(item, POINTS, 3), ProceduralSource(size=1000, seed=5).read(item, POINTS, 3))


def test_seeds_change_what_they_should():
    source = ProceduralSource(size=1)
    item = source.items()[0]
    a, b = source.read(item, POINTS, 0), source.read(item, POINTS, 1)
    assert not np.array_equal(a.points, b.points)
    assert (a.captions, a.content_hash) == (b.captions, b.content_hash)
    np.testing.assert_array_equal(a.size_m, b.size_m)
    hashes = [{r.content_hash for r in read_all(ProceduralSource(size=40, seed=seed), 16)} for seed in (0, 1)]
    assert not hashes[0] & hashes[1]


def test_another_process_makes_the_same_shapes():
    """Python's own hash is salted in each process; nothing may depend on it."""
    code = (
        "from align3d.sources.procedural import ProceduralSource as S; s = S(size=6, seed=9)\n"
        "for item in s.items():\n"
        "    r = s.read(item, 64, 1); print(r.content_hash, r.captions, r.points.tobytes().hex()[:80])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in "ab"
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].splitlines()) == 6


def test_parameters_are_those_of_the_first_release():
    """Splits and published numbers rest on these hashes: a change belongs in the changelog."""
    source = ProceduralSource(size=4, seed=0)
    found = [source.specification(index).parameters.content_hash()[:12] for index in range(4)]
    assert found == ["9c896bacebba", "e3ba804efbcd", "670089d76e13", "ee338b9281ae"]


def test_twins_differ_in_one_attribute_that_their_first_captions_name():
    source = ProceduralSource(size=300, seed=2, twins=1.0)
    changed = Counter()
    for index in range(0, source.size, 2):
        a, b = source.specification(index), source.specification(index + 1)
        assert a.focus == b.focus is not None
        assert a.parameters.family == b.parameters.family
        assert a.parameters.values.keys() == b.parameters.values.keys()
        different = [k for k in a.parameters.values if a.parameters[k] != b.parameters[k]]
        assert different == [a.focus]
        changed[type(FAMILIES[a.parameters.family].attributes[different[0]]).__name__] += 1
        first, second = source.captions(index)[0].split(), source.captions(index + 1)[0].split()
        assert first != second
        shared = sum((Counter(first) & Counter(second)).values())
        assert shared >= 0.5 * max(len(first), len(second)), (first, second)
        assert a.parameters.content_hash() != b.parameters.content_hash()
    assert set(changed) == {"Choice", "Color", "Count", "Length"}


def test_the_share_of_twins_is_a_setting():
    def share(twins: float) -> float:
        source = ProceduralSource(size=600, seed=4, twins=twins)
        return float(np.mean([source.specification(index).focus is not None for index in range(source.size)]))

    assert share(0.0) == 0
    assert share(1.0) == 1
    assert share(0.5) == pytest.approx(0.5, abs=0.1)


def test_families_can_be_chosen():
    source = make_source("procedural", size=12, families="mug, table")
    assert {record.category for record in read_all(source, 16)} == {"mug", "table"}
    assert source.fingerprint() == make_source("procedural", size=12, families=["table", "mug"]).fingerprint()


def test_settings_change_the_fingerprint():
    prints = {
        ProceduralSource(**settings).fingerprint()
        for settings in ({}, {"size": 10}, {"seed": 1}, {"twins": 0.1}, {"families": "mug"})
    }
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"families": "mugg"}, "did you mean mug"),
        ({"families": ["table", "pin heder"]}, "did you mean pin header"),
        ({"families": []}, "at least one family"),
        ({"size": 0}, "size=0"),
        ({"twins": 1.5}, "twins=1.5"),
        ({"szie": 10}, "did you mean size"),
    ],
)
def test_wrong_settings_end_in_one_clear_line(settings, message):
    with pytest.raises(DataError, match=message) as error:
        make_source("procedural", **settings)
    assert "\n" not in str(error.value)
