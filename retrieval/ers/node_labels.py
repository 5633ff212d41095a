"""Names for the nodes of a hierarchy from the captions below them, and the tree as text.

A word names a node if the captions below it hold it more often than their siblings' do: the log-odds ratio
with an informative Dirichlet prior, in standard deviations (Monroe, Colaresi, Quinn, "Fightin' Words", 2008,
eqs. 15, 16, 22). The prior is all captions' word counts, so that rare words need more evidence and words that
are common everywhere need a higher share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Ints, SemanticHierarchy

_WORD = regex.compile(r"[\w\p{M}]+(?:[-./][\w\p{M}]+)*")
_MANNER = """
an and are as at be but by each for from has have in into is it its no not of on or over per than
that the their them these this those to under up was were which while with without
"""
_FUNCTION_WORDS = frozenset(_MANNER.split())
"""They set captions apart by their manner, not by what they are of."""
_PRIOR_WORDS = 100.0
"""Words that the prior weighs as: a node of fewer is named by what is common."""


def name_nodes(
    hierarchy: SemanticHierarchy, leaves: Ints, captions: Sequence[str], *, words: int = 3
) -> list[list[str]]:
    """The words that set each node apart from its siblings.

    A caption counts each of its words once; case is ignored. Words without a letter, single letters and
    function words such as "of" are no names. A word that names a node above is not repeated below it.

    Args:
        hierarchy: The tree.
        leaves: ``[C]`` the leaf of each caption's vector.
        captions: C captions.
        words: Largest number of words per node.

    Returns:
        Per level a name for each node, its words joined by commas; empty where no caption is below it or
        nothing sets it apart.

    Raises:
        ValueError: If leaves and captions do not fit each other, a leaf is none of the tree's, or ``words``
            is below 1.
    """
    leaves = np.asarray(leaves)
    if leaves.shape != (len(captions),):
        raise ValueError(f"leaves of shape {leaves.shape} for {len(captions)} captions: expected one each")
    if words < 1:
        raise ValueError(f"words={words}: expected at least 1")
    if len(leaves) and not 0 <= leaves.min() <= leaves.max() < hierarchy.leaf_count:
        raise ValueError(
            f"leaves from {leaves.min()} to {leaves.max()}: expected 0 to {hierarchy.leaf_count - 1}"
        )
    counts = _word_counts(hierarchy, leaves, captions)
    everything: Counter[str] = Counter()
    for count in counts[0]:
        everything.update(count)
    total = sum(everything.values())
    prior = {word: _PRIOR_WORDS * count / total for word, count in everything.items()}
    names: list[list[str]] = []
    used_above: list[frozenset[str]] = [frozenset()]
    for level, bounds in enumerate(hierarchy.first_child):
        named: list[str] = []
        used: list[frozenset[str]] = []
        for parent in range(len(bounds) - 1):
            children = counts[level][bounds[parent] : bounds[parent + 1]]
            together: Counter[str] = Counter()
            for child in children:
                together.update(child)
            for child in children:
                chosen = _distinct_words(child, together, prior, used_above[parent], words)
                named.append(", ".join(chosen))
                used.append(used_above[parent] | set(chosen))
        names.append(named)
        used_above = used
    return names


def describe(
    hierarchy: SemanticHierarchy,
    names: Sequence[Sequence[str]],
    depth: int,
    *,
    sizes: NDArray[np.integer] | None = None,
    visits: Sequence[NDArray[np.floating]] | None = None,
    successes: Sequence[NDArray[np.floating]] | None = None,
    most: int | None = None,
) -> str:
    """The tree as text: one line per node, indented under its parent, and its figures in aligned columns.

    Siblings stand in the order of their sizes, the largest first.

    Args:
        hierarchy: The tree.
        names: Per level a name for each node (`name_nodes`).
        depth: Levels to show, from the first; more than there are shows all.
        sizes: ``[M]`` vectors in each leaf, which are added up; None shows how many leaves a node has.
        visits: Per level ``[M_l]``, a column; None leaves it out.
        successes: Per level ``[M_l]``, a column; None leaves it out.
        most: Children of a node that are shown, the others in one line together; None shows all.

    Raises:
        ValueError: If the depth or ``most`` is below 1, or names or figures are not of this tree.
    """
    for setting, value in {"depth": depth, "most": most}.items():
        if value is not None and value < 1:
            raise ValueError(f"{setting}={value}: expected at least 1")
    _check_fit(hierarchy, names, sizes, visits, successes)
    leaf_sizes = np.ones(hierarchy.leaf_count, np.int64) if sizes is None else sizes
    below = sizes_of_nodes(hierarchy, leaf_sizes)
    columns = ["leaves" if sizes is None else "vectors"]
    use = {"visits": visits, "successes": successes}
    columns += [name for name, counts in use.items() if counts is not None]
    table = [["", *columns], ["all", f"{int(below[0].sum()):,}", *[""] * (len(columns) - 1)]]

    def figures(level: int, nodes: NDArray[np.int64]) -> list[str]:
        counts = [f"{values[level][nodes].sum():,.1f}" for values in use.values() if values is not None]
        return [f"{int(below[level][nodes].sum()):,}", *counts]

    def add(level: int, first: int, last: int, indent: str) -> None:
        nodes = first + np.argsort(-below[level][first:last], kind="stable")
        shown = len(nodes) if most is None or len(nodes) <= most + 1 else most  # a line for one is no gain
        for place, node in enumerate(nodes[:shown]):
            end = place == len(nodes) - 1
            title = names[level][node] or f"(node {node})"
            table.append(
                [f"{indent}{'└─ ' if end else '├─ '}{title}", *figures(level, nodes[place : place + 1])]
            )
            if level + 1 < min(depth, hierarchy.depth):
                bounds = hierarchy.first_child[level + 1]
                add(level + 1, bounds[node], bounds[node + 1], indent + ("   " if end else "│  "))
        if shown < len(nodes):
            table.append(
                [f"{indent}└─ … {len(nodes) - shown:,} smaller ones", *figures(level, nodes[shown:])]
            )

    add(0, 0, len(names[0]), "")
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(_aligned(row, widths) for row in table)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell to the left, the others to the right, two spaces between."""
    cells = [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]
    return "  ".join(cells).rstrip()


def _check_fit(
    hierarchy: SemanticHierarchy,
    names: Sequence[Sequence[str]],
    sizes: NDArray[np.integer] | None,
    visits: Sequence[NDArray[np.floating]] | None,
    successes: Sequence[NDArray[np.floating]] | None,
) -> None:
    wanted = [len(nodes) for nodes in hierarchy.centroids]
    if [len(level) for level in names] != wanted:
        raise ValueError(
            f"names for {[len(level) for level in names]} nodes a level: this tree has {wanted}; name it anew"
        )
    if sizes is not None and len(sizes) != hierarchy.leaf_count:
        raise ValueError(f"sizes of {len(sizes)} leaves: this tree has {hierarchy.leaf_count}")
    for what, counts in {"visits": visits, "successes": successes}.items():
        if counts is not None and [len(level) for level in counts] != wanted:
            raise ValueError(
                f"{what} of {[len(level) for level in counts]} nodes a level: this tree has {wanted}"
            )


def sizes_of_nodes(hierarchy: SemanticHierarchy, leaf_sizes: NDArray[np.integer]) -> list[Ints]:
    """Per level ``[M_l]``: what the leaves below each node hold."""
    sizes = [np.asarray(leaf_sizes, np.int64)]
    for level in range(hierarchy.depth - 1, 0, -1):
        nodes = len(hierarchy.centroids[level - 1])
        above = np.zeros(nodes, np.int64)
        np.add.at(above, hierarchy.parents(level), sizes[0])
        sizes.insert(0, above)
    return sizes


def _word_counts(
    hierarchy: SemanticHierarchy, leaves: Ints, captions: Sequence[str]
) -> list[list[Counter[str]]]:
    """Per level, for each node: how many of the captions below it hold a word."""
    counts = [[Counter[str]() for _ in range(hierarchy.leaf_count)]]
    for leaf, caption in zip(leaves.tolist(), captions, strict=True):
        counts[0][leaf].update(set(_words(caption)))
    for level in range(hierarchy.depth - 1, 0, -1):
        above = [Counter[str]() for _ in range(len(hierarchy.centroids[level - 1]))]
        for parent, count in zip(hierarchy.parents(level).tolist(), counts[0], strict=True):
            above[parent].update(count)
        counts.insert(0, above)
    return counts


def _words(caption: str) -> list[str]:
    found = _WORD.findall(caption.lower())
    return [
        word
        for word in found
        if len(word) > 1 and word not in _FUNCTION_WORDS and any(letter.isalpha() for letter in word)
    ]


def _distinct_words(
    here: Counter[str],
    together: Counter[str],
    prior: dict[str, float],
    used: frozenset[str],
    wanted: int,
) -> list[str]:
    """The words of highest log-odds in standard deviations, where that is above 0; ties by alphabet."""
    if len(prior) == 1:  # one word in all captions sets nothing apart
        return []
    total_here, total_elsewhere = sum(here.values()), sum(together.values()) - sum(here.values())
    scored = []
    for word, count in here.items():
        if word in used:
            continue
        elsewhere, weight = together[word] - count, prior[word]
        odds_here = (count + weight) / (total_here + _PRIOR_WORDS - count - weight)
        odds_elsewhere = (elsewhere + weight) / (total_elsewhere + _PRIOR_WORDS - elsewhere - weight)
        deviation = (1 / (count + weight) + 1 / (elsewhere + weight)) ** 0.5
        score = float(np.log(odds_here / odds_elsewhere)) / deviation
        if score > 0:
            scored.append((-score, word))
    return [word for _, word in sorted(scored)[:wanted]]
