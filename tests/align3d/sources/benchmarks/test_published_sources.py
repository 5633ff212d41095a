"""What holds for every benchmark: what is missing is named with its publisher and license."""

from pathlib import Path

import pytest

from align3d.errors import DataError
from align3d.sources import SOURCES, make_source
from align3d.sources.benchmarks.published import PublishedSource
from align3d.sources.benchmarks.published_values import is_below

NAMES = sorted(name for name, cls in SOURCES.items() if issubclass(cls, PublishedSource))


def test_these_benchmarks_are_registered() -> None:
    assert [
        *("cap3d", "compat200", "objaverse_lvis", "partnete"),
        *("shapenet55", "shapenetpart", "text2shape"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_told_what_to_download(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        make_source(name, root=str(tmp_path)).items()
    message, cls = str(told.value), SOURCES[name]
    assert issubclass(cls, PublishedSource)
    assert message.startswith(f"data={name}: none of its files in {tmp_path} (looked for ")
    assert cls.DOWNLOAD in message
    assert f"(license: {cls.LICENSE})" in message
    assert "\n" not in message
    assert all(layout in message for layout in cls.LAYOUTS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"split": "tset"}, "split='tset', expected "),
        ({"layout": "zip"}, "layout='zip', expected "),
        ({"up": "w"}, "up='w', expected x or y or z"),
        ({"size": 0}, "size=0, expected a whole number"),
    ],
)
def test_a_wrong_setting_is_named(name: str, settings: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"data={name}: {told}"):
        make_source(name, root=str(tmp_path), **settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_root_is_asked_for_and_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"data={name}: no root"):
        make_source(name)
    with pytest.raises(DataError, match="does not exist; download "):
        make_source(name, root=str(tmp_path / "nope")).items()


def test_a_file_that_a_list_names_lies_below_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "a.npy").touch()
    assert is_below(inside, "a.npy")
    for name in ("../a.npy", str(tmp_path / "a.npy"), "b.npy", "x" * 5000):
        assert not is_below(inside, name)
