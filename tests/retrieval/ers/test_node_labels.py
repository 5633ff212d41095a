import math

import numpy as np
import pytest

from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.node_labels import describe, name_nodes


@pytest.fixture
def tree() -> SemanticHierarchy:
    """Two branches, of two leaves and of one."""
    axes = np.eye(5, dtype=np.float32)
    return SemanticHierarchy((axes[:2], axes[2:]), (np.array([0, 2]), np.array([0, 2, 3])))


CAPTIONS = (
    *["a red connector with pins"] * 4,  # leaf 0
    *["a blue connector with pins"] * 4,  # leaf 1
    *["a grey resistor with leads"] * 6,  # leaf 2
)
LEAVES = np.repeat([0, 1, 2], [4, 4, 6])


def test_nodes_are_named_by_what_sets_them_apart(tree: SemanticHierarchy) -> None:
    branches, leaves = name_nodes(tree, LEAVES, CAPTIONS, words=2)
    assert branches == ["connector, pins", "grey, leads"]
    # What its siblings hold too, or names a node above, names no leaf.
    assert leaves[:2] == ["red", "blue"]


def test_the_first_name_has_the_highest_log_odds(tree: SemanticHierarchy) -> None:
    """An oracle that spells Monroe et al.'s formula over a vocabulary of three words."""
    captions = ["aa bb", "aa", "bb cc", "bb cc", "aa cc"]
    leaves = np.array([0, 0, 2, 2, 2])
    here, there = {"aa": 2, "bb": 1, "cc": 0}, {"aa": 1, "bb": 2, "cc": 3}
    every = {word: here[word] + there[word] for word in here}
    total = sum(every.values())

    def z(word: str) -> float:
        prior = {w: 100 * every[w] / total for w in every}
        one, two = here[word] + prior[word], there[word] + prior[word]
        all_one, all_two = sum(here.values()) + 100, sum(there.values()) + 100
        delta = math.log(one / (all_one - one)) - math.log(two / (all_two - two))
        return delta / math.sqrt(1 / one + 1 / two)

    expected = sorted((w for w in here if here[w] and z(w) > 0), key=z, reverse=True)
    assert name_nodes(tree, leaves, captions)[0][0] == ", ".join(expected)


def test_case_numbers_single_letters_and_function_words(tree: SemanticHierarchy) -> None:
    names = name_nodes(tree, np.array([0, 2]), ["M 12 USB-C usb-c", "x 5 plug"])
    assert names[0] == ["usb-c", "plug"]
    assert name_nodes(tree, np.array([0, 2]), ["plug", "plug"])[0] == ["", ""]
    of_with = ["a chair of oak with arms", "the lamp on it"]
    assert name_nodes(tree, np.array([0, 2]), of_with)[0] == ["arms, chair, oak", "lamp"]
    assert name_nodes(tree, np.empty(0, np.int64), [])[0] == ["", ""]


def test_words_of_any_script_are_whole(tree: SemanticHierarchy) -> None:
    captions = [*["लाल कुर्सी"] * 4, *["नीली कुर्सी"] * 4, *["हरी मेज"] * 6]
    branches, leaves = name_nodes(tree, LEAVES, captions, words=1)
    assert branches == ["कुर्सी", "मेज"]
    assert leaves[:2] == ["लाल", "नीली"]


def test_the_tree_as_text(tree: SemanticHierarchy) -> None:
    names = [["connector", "resistor"], ["red", "blue", ""]]
    counts = [np.array([3.0, 1.5]), np.array([2.0, 1.0, 1.5])]
    shown = describe(tree, names, 2, sizes=np.array([1, 4, 1200]), visits=counts, successes=counts)
    assert shown == (
        "                vectors  visits  successes\n"
        "all               1,205\n"
        "├─ resistor       1,200     1.5        1.5\n"
        "│  └─ (node 2)    1,200     1.5        1.5\n"
        "└─ connector          5     3.0        3.0\n"
        "   ├─ blue            4     1.0        1.0\n"
        "   └─ red             1     2.0        2.0"
    )
    assert describe(tree, names, 1) == (
        "              leaves\nall                3\n├─ connector       2\n└─ resistor        1"
    )


def test_small_siblings_share_a_line() -> None:
    tree = SemanticHierarchy((np.eye(5, dtype=np.float32),), (np.array([0, 5]),))
    sizes, names = np.array([5, 4, 3, 2, 1]), [["a", "b", "c", "d", "e"]]
    lines = describe(tree, names, 1, sizes=sizes, most=2).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["├─", "a", "5"],
        ["├─", "b", "4"],
        ["└─", "…", "3", "smaller", "ones", "6"],
    ]
    assert "smaller" not in describe(tree, names, 1, sizes=sizes, most=4)


def test_what_does_not_fit_is_named(tree: SemanticHierarchy) -> None:
    with pytest.raises(ValueError, match="for 1 captions"):
        name_nodes(tree, np.array([0, 1]), ["a"])
    with pytest.raises(ValueError, match="expected 0 to 2"):
        name_nodes(tree, np.array([3]), ["a"])
    with pytest.raises(ValueError, match="this tree has"):
        describe(tree, [["one"], []], 2)
    with pytest.raises(ValueError, match="depth=0"):
        describe(tree, [["", ""], ["", "", ""]], 0)
    with pytest.raises(ValueError, match="most=0"):
        describe(tree, [["", ""], ["", "", ""]], 1, most=0)
    with pytest.raises(ValueError, match=r"visits of \[2\] nodes a level: this tree has \[2, 3\]"):
        describe(tree, [["", ""], ["", "", ""]], 1, visits=[np.zeros(2)])
