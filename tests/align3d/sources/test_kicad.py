"""The KiCad source on a miniature library in the shape of the real one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from align3d.errors import DataError, RejectedItem
from align3d.sources import make_source
from align3d.sources.footprints import read_footprint

PLATE = """#VRML V2.0 utf8
#kicad StepUp wrl exported
Shape {{
\tappearance Appearance {{material DEF PIN-01 Material {{
\t\tambientIntensity 0.271
\t\tdiffuseColor 0.824 0.820 0.781
\t\t}}
\t}}
}}
Shape {{ appearance Appearance {{material DEF IC-BODY-EPOXY-04 Material {{ diffuseColor 0 0 0 }} }} }}
Shape {{ geometry IndexedFaceSet
{{ creaseAngle 0.50 coordIndex [0,1,2,-1,2,3,0,-1]
coord Coordinate {{ point [0.000 0.000 0.000,{x} 0.000 0.000,{x} {y} 0.000,0.000 {y} 0.000]
}}}}
appearance Appearance{{material USE PIN-01 }}
}}
"""


def footprint(name: str, model: str, descr: str, tags: str = "some tags", scale: str = "1 1 1") -> str:
    return f"""(footprint "{name}" (version 20211014) (generator pcbnew)
  (layer "F.Cu")
  (descr "{descr}")
  (tags "{tags}")
  (pad "1" smd roundrect (at -0.7 0) (size 0.6 1))
  (model "${{KICAD6_3DMODEL_DIR}}/{model}"
    (offset (xyz 0 0 0))
    (scale (xyz {scale}))
    (rotate (xyz 0 0 0))
  )
)
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = tmp_path / "usr/share/kicad"
    models = {
        "Plates.3dshapes/Plate_1x1.wrl": (1, 1),
        "Plates.3dshapes/Plate_1x2.wrl": (1, 2),
        "Plates.3dshapes/Plate_1x3.wrl": (1, 3),
        "Strips.3dshapes/Strip_10.wrl": (10, 0.1),
        "Strips.3dshapes/Lonely.wrl": (1, 1),
    }
    for name, (x, y) in models.items():
        path = root / "3dmodels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLATE.format(x=x, y=y))
    broken = root / "3dmodels/Strips.3dshapes/Broken.wrl"
    broken.write_text(PLATE.format(x=1, y=1)[:-20])
    footprints = {
        "Plates.pretty/Plate_1x1_HandSolder": (
            "Plates.3dshapes/Plate_1x1.wrl",
            "Square plate, 1x1, for hand use (https://x.y/z.pdf)",
        ),
        "Plates.pretty/Plate_1x1": (
            "Plates.3dshapes/Plate_1x1.wrl",
            "Square plate, 1x1, generated with a-script",
        ),
        "Other.pretty/Square": ("Plates.3dshapes/Plate_1x1.wrl", "SQUARE PLATE 1x1"),
        "Plates.pretty/Plate_1x2": ("Plates.3dshapes/Plate_1x2.wrl", "https://x.y/z.pdf"),
        "Plates.pretty/Plate_1x3": ("Plates.3dshapes/Plate_1x3.step", "Plate, 1x3, in another format"),
        "Plates.pretty/Gone": ("Plates.3dshapes/Gone.wrl", "Not there any more"),
        "Strips.pretty/Strip_10": ("Strips.3dshapes/Strip_10.wrl", "Strip of ten"),
        "Strips.pretty/Broken": ("Strips.3dshapes/Broken.wrl", "A file cut short"),
    }
    for name, (model, descr) in footprints.items():
        path = root / "footprints" / f"{name}.kicad_mod"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(footprint(path.stem, model, descr))
    return tmp_path


def read_all(source) -> tuple[dict, dict]:
    records, rejected = {}, {}
    for item in source.items():
        try:
            records[item.id] = source.read(item, 64, 0)
        except RejectedItem as error:
            rejected[item.id] = error.reason
    return records, rejected


def test_records_of_a_library(library: Path) -> None:
    records, rejected = read_all(make_source("kicad", root=library))
    assert sorted(records) == [f"Plates.3dshapes/Plate_1x{n}.wrl" for n in (1, 2, 3)] + [
        "Strips.3dshapes/Strip_10.wrl"
    ]
    plate = records["Plates.3dshapes/Plate_1x1.wrl"]
    # The footprint of the model's own name speaks first; "SQUARE PLATE 1x1" repeats it.
    assert plate.captions == ("Square plate, 1x1", "Square plate, 1x1, for hand use")
    assert plate.category == "Plates"
    assert plate.part_names == ("PIN-01",)
    assert plate.part.tolist() == [0] * 64
    assert plate.colors[0].tolist() == [210, 209, 199]
    np.testing.assert_allclose(plate.size_m, [0.00254, 0.00254, 0.0], rtol=1e-6)
    assert (plate.up_axis, plate.license) == ("z", "CC-BY-SA-4.0 with KiCad exception")
    # A description that is only an address leaves the tags; a model may be named by its STEP file.
    assert records["Plates.3dshapes/Plate_1x2.wrl"].captions == ("some tags",)
    assert records["Plates.3dshapes/Plate_1x3.wrl"].captions == ("Plate, 1x3, in another format",)
    assert "caption without a file" in rejected["Plates.3dshapes/Gone.wrl"]
    assert "file without a caption" in rejected["Strips.3dshapes/Lonely.wrl"]
    assert "truncated" in rejected["Strips.3dshapes/Broken.wrl"]


def test_reading_twice_gives_the_same_and_a_seed_another(library: Path) -> None:
    source = make_source("kicad", root=library)
    item = next(item for item in source.items() if item.id.endswith("Plate_1x1.wrl"))
    first, second, other = source.read(item, 64, 0), source.read(item, 64, 0), source.read(item, 64, 1)
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.array_equal(first.points, other.points)
    assert first.content_hash == other.content_hash


@pytest.mark.parametrize("root", [".", "usr/share/kicad", "usr/share/kicad/3dmodels", "usr/share"])
def test_root_is_found(library: Path, root: str) -> None:
    assert len(make_source("kicad", root=library / root).items()) == 7


def test_families_by_name_and_pattern(library: Path) -> None:
    for families in ("Strips", ["Str*"], "St?ips,"):
        items = make_source("kicad", root=library, families=families).items()
        assert {item.id.partition("/")[0] for item in items} == {"Strips.3dshapes"}
    with pytest.raises(DataError, match=r"no family 'Stirps'; did you mean Strips\?"):
        make_source("kicad", root=library, families="Stirps").items()


def test_size_takes_the_first_by_content(library: Path) -> None:
    by_size = [
        {item.id for item in make_source("kicad", root=library, size=n).items()} for n in (1, 2, 3, 99)
    ]
    assert [len(ids) for ids in by_size] == [1, 2, 3, 5]
    assert by_size[0] < by_size[1] < by_size[2] < by_size[3]
    for size in (0, -1, "many", True, 2.5):
        with pytest.raises(DataError, match="size="):
            make_source("kicad", root=library, size=size)


def test_fingerprint_follows_files_and_settings(library: Path) -> None:
    first = make_source("kicad", root=library).fingerprint()
    assert first == make_source("kicad", root=library / "usr/share/kicad").fingerprint()
    assert first != make_source("kicad", root=library, size=2).fingerprint()
    model = library / "usr/share/kicad/3dmodels/Plates.3dshapes/Plate_1x1.wrl"
    os.utime(model, (1, 1))
    assert first != make_source("kicad", root=library).fingerprint()


def test_missing_libraries_say_what_to_do(tmp_path: Path) -> None:
    source = make_source("kicad", root=tmp_path / "none")
    for call in (source.items, source.fingerprint):
        with pytest.raises(DataError) as error:
            call()
        assert str(error.value) == (
            f"data=kicad: no library at {tmp_path}/none/3dmodels; install the Debian packages "
            "kicad-packages3d and kicad-footprints or set data.root"
        )
    (tmp_path / "3dmodels").mkdir()
    with pytest.raises(DataError, match=r"no footprints at .* kicad-footprints"):
        make_source("kicad", root=tmp_path).items()
    (tmp_path / "footprints").mkdir()
    with pytest.raises(DataError, match="no VRML models"):
        make_source("kicad", root=tmp_path).items()
    (tmp_path / "3dmodels/A.3dshapes").mkdir()
    (tmp_path / "3dmodels/A.3dshapes/a.wrl").write_text("")
    with pytest.raises(DataError, match=r"no footprint in .* names a model"):
        make_source("kicad", root=tmp_path).items()


def test_footprints_of_every_release(tmp_path: Path) -> None:
    path = tmp_path / "a.kicad_mod"
    for variable in ("KISYS3DMOD", "KICAD6_3DMODEL_DIR", "KICAD9_3DMODEL_DIR"):
        path.write_text(
            f'(module a (descr "A part") (model ${{{variable}}}/A.3dshapes/b.wrl\n (scale (xyz 2 2 2))))'
        )
        (usage,) = read_footprint(path)
        assert (usage.model, usage.descr, usage.scale) == ("A.3dshapes/b", "A part", (2.0, 2.0, 2.0))
    path.write_text(footprint("a", "A.3dshapes/a.wrl", "two") + footprint("a", "A.3dshapes/b.wrl", "two"))
    assert [(usage.model, usage.alone) for usage in read_footprint(path)] == [
        ("A.3dshapes/a", False),
        ("A.3dshapes/b", False),
    ]


def test_scale_of_the_footprint_counts(library: Path) -> None:
    path = library / "usr/share/kicad/footprints/Strips.pretty/Strip_10.kicad_mod"
    plain = read_all(make_source("kicad", root=library, families="Strips"))[0]["Strips.3dshapes/Strip_10.wrl"]
    path.write_text(footprint("Strip_10", "Strips.3dshapes/Strip_10.wrl", "Strip", scale="2 2 2"))
    scaled = read_all(make_source("kicad", root=library, families="Strips"))[0][
        "Strips.3dshapes/Strip_10.wrl"
    ]
    np.testing.assert_allclose(scaled.size_m, 2 * plain.size_m)
    assert scaled.content_hash != plain.content_hash
