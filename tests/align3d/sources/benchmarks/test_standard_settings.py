"""Standard settings of benchmarks: each is one that its source accepts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from align3d.errors import DataError
from align3d.sources import SOURCES, make_source
from align3d.sources.benchmarks.standard_settings import BENCHMARKS

PAGE = (Path(__file__).parents[4] / "docs" / "benchmarks.md").read_text()
OWN = {"built", "folder", "kicad", "parquet", "procedural", "webdataset"}
"""Sources that are no benchmarks."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_source_accepts_all_of_them_and_then_asks_for_the_files(name: str, tmp_path: Path) -> None:
    found = BENCHMARKS[name]
    for settings in found.each():
        with pytest.raises(DataError, match=f"data={found.source}: nothing of it in"):
            make_source(found.source, root=str(tmp_path), **settings).items()


def test_every_benchmark_has_some() -> None:
    assert {one.source for one in BENCHMARKS.values()} == {
        name for name, cls in SOURCES.items() if cls.__module__.startswith("align3d.") and name not in OWN
    }


def test_sets_are_all_those_that_a_result_is_made_of() -> None:
    corrupted = list(BENCHMARKS["modelnet_c"].each())
    assert len(corrupted) == 1 + 7 * 5
    assert corrupted[:2] == [{"corruption": "clean"}, {"corruption": "scale", "level": 0}]
    assert len(BENCHMARKS["modelnet40_c"].sets) == 1 + 15 * 5
    folds = list(BENCHMARKS["modelnet_fewshot_5way_10shot"].each())
    assert [one["fold"] for one in folds] == list(range(10))
    assert {(one["way"], one["shot"]) for one in folds} == {(5, 10)}
    assert len(list(BENCHMARKS["text2shape"].each())) == 1


def commands(module: str) -> list[dict[str, Any]]:
    """Settings of the commands of the page by a module."""
    lines = re.findall(rf"^python -m {module} (.*)$", PAGE, re.MULTILINE)
    return [{key: yaml.safe_load(value) for key, value in settings(line)} for line in lines]


def settings(line: str) -> list[tuple[str, str]]:
    return [(word.partition("=")[0], word.partition("=")[2]) for word in line.split()]


def test_the_page_has_one_command_for_each_table() -> None:
    asked = [str(one["benchmark"]) for one in commands("experiments.evaluate")]
    assert set(asked) <= set(BENCHMARKS)
    assert {BENCHMARKS[name].source for name in asked} == {one.source for one in BENCHMARKS.values()}
    folds = {name for name in BENCHMARKS if name.startswith("modelnet_fewshot")}
    assert folds <= set(asked)


@pytest.mark.parametrize("asked", commands("align3d.build"), ids=lambda one: Path(one["out"]).name)
def test_the_commands_of_the_page_are_accepted(asked: dict[str, Any], tmp_path: Path) -> None:
    own = {key: value for key, value in asked.items() if key not in ("source", "out", "root")}
    with pytest.raises(DataError, match="nothing of it in"):
        make_source(asked["source"], root=tmp_path, **own).items()


@pytest.mark.parametrize("source", sorted({one.source for one in BENCHMARKS.values()}))
def test_the_page_names_every_layout(source: str) -> None:
    cls: Any = SOURCES[source]
    if len(cls.LAYOUTS) > 1:
        assert all(f"`{layout.name}`" in PAGE or f"`layout={layout.name}`" in PAGE for layout in cls.LAYOUTS)
