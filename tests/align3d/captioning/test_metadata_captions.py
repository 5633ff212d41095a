"""Captions without a model: templates, a captions file, KiCad footprints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from align3d.captioning.metadata_captions import (
    FileCaptions,
    FootprintCaptions,
    TemplateCaptions,
    size_words,
)
from align3d.captioning.protocol import Caption, CaptionSource, Offer, Subject
from align3d.errors import DataError, UserError

CHAIR = Subject(
    "rooms/red_chair.glb",
    "dining_chair",
    ("seat", "leg", "seat"),
    (0.5, 0.45, 0.9),
    "0" * 64,
    (),
    "points",
    tuple,
)


@pytest.mark.parametrize(
    ("template", "subject", "expected"),
    [
        ("{category}, {size}", CHAIR, "dining chair, 50 x 45 x 90 cm"),
        ("{category}, {size}", replace(CHAIR, category=""), "50 x 45 x 90 cm"),
        ("a {category} with {parts}", CHAIR, "a dining chair with seat and leg"),
        ("{name}, of {parts}", replace(CHAIR, part_names=()), "red chair"),
        ("a {category}", replace(CHAIR, category="{size}"), "a {size}"),
        ("shape, {parts}", replace(CHAIR, part_names=()), None),
    ],
)
def test_templates(template: str, subject: Subject, expected: str | None) -> None:
    source = TemplateCaptions(template)
    assert isinstance(source, CaptionSource)
    captions = () if expected is None else (Caption(expected, "template"),)
    assert source.captions(subject, ()) == Offer(captions)


@pytest.mark.parametrize(
    ("template", "message"), [("{kind}", r"no field \{kind\}"), ("a shape", "expected fields")]
)
def test_templates_that_are_none(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TemplateCaptions(template)


def test_sizes_are_told_in_a_unit_that_suits_them() -> None:
    assert size_words((0.010, 0.0025, 0.012)) == "10 x 2.5 x 12 mm"
    assert size_words((2.0, 3.25, 0.5)) == "2 x 3.25 x 0.5 m"


def test_a_captions_file_goes_by_the_shapes_ids(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text(
        "path,caption\nrooms/red_chair.glb,a red chair\nrooms/red_chair.glb,a seat\nother,a table\n"
    )
    source = FileCaptions(file)
    assert isinstance(source, CaptionSource)
    found = source.captions(CHAIR, ())
    assert [caption.text for caption in found.captions] == ["a red chair", "a seat"]
    assert {caption.origin for caption in found.captions} == {"captions file"}
    assert source.captions(replace(CHAIR, id="nothing"), ()) == Offer()
    before = source.fingerprint()
    file.write_text(file.read_text() + "other,one more\n")
    assert FileCaptions(file).fingerprint() != before
    with pytest.raises(DataError, match=r"captioner\.file=.*cannot be read"):
        FileCaptions(tmp_path / "none.csv").fingerprint()


def test_footprints_describe_models_of_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "Package_SO.pretty"
    folder.mkdir()
    (folder / "SOIC-8.kicad_mod").write_text(
        '(footprint "SOIC-8" (descr "SOIC, 8 pins, pitch 1.27mm (see https://a.b/c.pdf)") (tags "SOIC SO")\n'
        '  (model "${KICAD6_3DMODEL_DIR}/Package_SO.3dshapes/SOIC-8.wrl" (scale (xyz 1 1 1))))\n'
    )
    source = FootprintCaptions(tmp_path)
    assert isinstance(source, CaptionSource)
    step = replace(CHAIR, id="Package_SO.3dshapes/SOIC-8.step")
    (caption,) = source.captions(step, ()).captions
    assert caption == Caption("SOIC, 8 pins, pitch 1.27mm", "footprint")
    assert source.captions(CHAIR, ()) == Offer()
    with pytest.raises(DataError, match="no footprints there"):
        FootprintCaptions(folder)
