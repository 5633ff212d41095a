"""The map of a library: a tree whose sizes add up, what feedback has taught, the shapes of a node, health."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from align3d.errors import UserError
from experiments.demo_views.index_map import IndexMap
from experiments.search import Searcher
from experiments.tree import Settings, tree
from tests.experiments.shape_search.searched_run import Searched


@pytest.fixture(scope="module")
def searcher(searched: Searched) -> Searcher:
    return Searcher(searched.run)


def test_sizes_add_up_and_names_are_those_of_the_tree_command(searcher: Searcher) -> None:
    chart = IndexMap(searcher)
    root = chart.node()
    assert root["size"] == 60 == sum(child["size"] for child in root["children"])
    sizes = [child["size"] for child in root["children"]]
    assert sizes == sorted(sizes, reverse=True)
    printed = tree(Settings(index=searcher.library.folder / "index", depth=2))
    rows: list[int] = []
    for child in root["children"]:
        assert child["name"] in printed
        below = chart.node(child["level"], child["node"])
        assert below["size"] == child["size"] == sum(leaf["size"] for leaf in below["children"])
        assert [step["name"] for step in below["path"]] == ["all shapes", child["name"]]
        for leaf in below["children"]:
            shapes = chart.shapes(leaf["level"], leaf["node"])
            assert shapes["count"] == leaf["size"] == len(shapes["shapes"])
            rows += [shape["row"] for shape in shapes["shapes"]]
            for shape in shapes["shapes"]:
                assert shape["caption"] == searcher.library.header.captions[shape["row"]][0]
    assert sorted(rows) == list(range(60))
    assert chart.shapes(-1, 0, 50)["shapes"][0]["id"] == searcher.library.header.ids[50]


def test_what_is_taught_is_seen(searched: Searched, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    searcher = Searcher(run)
    chart = IndexMap(searcher)
    assert chart.node()["feedbacks"] == 0
    row = searcher.search("a red ring", 1)[0].row
    searcher.teach("a red ring", row)
    root = chart.node()
    assert root["visits"] == root["successes"] == 1
    taught = [child for child in root["children"] if child["successes"]]
    assert len(taught) == 1
    found = chart.shapes(taught[0]["level"], taught[0]["node"])["shapes"]
    assert row in [shape["row"] for shape in found]


def test_health_is_that_of_the_index_in_a_sentence_and_figures(searcher: Searcher) -> None:
    found = IndexMap(searcher).health()
    assert found["live"] == 60
    assert found["leaves"] == searcher.index.health().leaves
    assert found["owes"] is False
    assert found["sentence"] == "The index is sound: nothing is owed to changes."


def test_another_index_has_captions_but_no_shapes_to_draw(searcher: Searcher) -> None:
    chart = IndexMap(searcher, searcher.library.folder / "index")
    shape = chart.shapes(-1, 0)["shapes"][3]
    assert shape["row"] is None
    assert shape["caption"] == searcher.library.header.captions[3][0]


@pytest.mark.parametrize(("level", "node"), [(-2, 0), (9, 0), (0, 99), (0, -1)])
def test_nodes_that_there_are_not_are_refused(searcher: Searcher, level: int, node: int) -> None:
    with pytest.raises(UserError, match=r"(level|node)=-?\d+: expected"):
        IndexMap(searcher).node(level, node)


def test_an_index_that_is_none_is_refused(searcher: Searcher, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="index="):
        IndexMap(searcher, tmp_path)
