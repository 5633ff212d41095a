"""Standard settings of benchmarks: each is one that its source accepts."""

from pathlib import Path

import pytest

from align3d.errors import DataError
from align3d.sources import SOURCES, make_source
from align3d.sources.benchmarks.standard_settings import BENCHMARKS

OWN = {"folder", "kicad", "procedural"}
"""Sources that are no benchmarks."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_source_accepts_all_of_them_and_then_asks_for_the_files(name: str, tmp_path: Path) -> None:
    found = BENCHMARKS[name]
    for settings in found.each():
        with pytest.raises(DataError, match=f"data={found.source}: (none of its files|nothing of it) in"):
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
