"""The picture of a search: a file, an array, and the chosen line in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from agents.search import Policy, Tree, init_tree, puct, search, summarize, uct
from agents.search.views.plot import best_line, draw_search
from tests.agents.search.oracle import RandomGame

NAMES = ["sharpen level 2", "soften level 1", "boost head 0", "open level 1", "boost 'chair'"]


def grown(simulations: int = 40, policy: Policy | None = None) -> Tree:
    game = RandomGame.draw(2, states=30, actions=5, seed=1, prior=True)
    tree = init_tree(game.root(), simulations + 1)
    search(tree, game, simulations, policy or puct(), 0.95)
    return tree


def test_the_line_follows_the_visits_from_the_action_that_was_decided_on():
    tree = grown()
    line = best_line(tree)
    assert line[0] == int(summarize(tree).action[0])
    node = 0
    for action in line:
        assert int(tree.visits[0, node, action]) == int(tree.visits[0, node].max())
        node = int(tree.children[0, node, action])
    other = int((tree.visits[0, 0] > 0).nonzero()[-1])
    assert best_line(tree, first=other)[0] == other


def test_by_the_best_return_the_line_earns_what_the_search_found():
    tree = grown(120, uct(2.0))
    for row in range(2):
        line = best_line(tree, row, criterion="best")
        node, ahead = 0, float(tree.best[row, 0].max())
        assert ahead > 0
        for action in line:
            assert float(tree.best[row, node, action]) == float(tree.best[row, node].max()) > 0
            node = int(tree.children[row, node, action])
        if node >= 0:
            assert float(tree.best[row, node].max()) <= 0 or bool(tree.terminal[row, node])
    shown = draw_search(tree, criterion="best")
    assert shown.shape != draw_search(tree).shape or not np.array_equal(shown, draw_search(tree))


def test_a_search_that_found_no_gain_chooses_nothing():
    tree = grown(40)
    tree.best.fill_(-0.1)
    assert best_line(tree, criterion="best") == []
    assert draw_search(tree, criterion="best").shape[2] == 3


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written_and_returned(tmp_path, suffix):
    tree = grown()
    path = tmp_path / f"search.{suffix}"
    picture = draw_search(tree, 1, NAMES, path=path)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.min() < 100  # there is something on the page
    if suffix == "png":
        with Image.open(path) as written:
            assert written.size == (picture.shape[1], picture.shape[0])
    else:
        assert "<svg" in path.read_text()


def test_large_trees_are_cut_down_to_what_was_visited_most():
    tree = grown(200, uct(2.0))
    small, large = draw_search(tree, most=5), draw_search(tree, most=60)
    assert small.shape[0] < large.shape[0]
    empty = draw_search(grown(0), names=NAMES)
    assert empty.shape[2] == 3


def test_pictures_do_not_differ_from_call_to_call():
    tree = grown()
    assert np.array_equal(draw_search(tree), draw_search(tree))
    assert torch.equal(tree.visits, grown().visits)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="most=1"):
        draw_search(grown(3), most=1)
    with pytest.raises(ValueError, match="2, but the tree has 5"):
        draw_search(grown(3), names=["a", "b"])
