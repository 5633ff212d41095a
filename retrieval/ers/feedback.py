"""Feedback on an index: decayed visit and success counts on the edges of the tree.

An edge is named by its lower node. `record` is called once a feedback; `prior` turns the counts into what
the descent adds to the similarity of a node, ``w·N_success/N + c·sqrt(ln N / N(s,a))`` (Section ERS of
3DAlign-DAER, arXiv 2511.13211), where ``N = N(s)`` are the visits of the parent and ``N(s,a)`` those of the
edge. One visit is added to each, so that a tree without history has a prior of 0 everywhere and is searched
by similarity alone.

The prior decides which leaves are looked at, not how what they hold is ranked. ``python -m
experiments.benchmark feedback`` shows what each term gives where few shapes are asked for often: successes
are worth most where the beam is narrow. Exploration costs, its use is to gather feedback on the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.validation import real

_RESCALE_AT = 1e9


class EdgeStatistics:
    """Counts per edge; an old feedback weighs half after ``half_life`` newer ones, at least 1.

    Attributes:
        visits: Per level ``[M_l]`` float64, in units of ``weight``.
        successes: Per level ``[M_l]`` float64, in units of ``weight``.
        total: Visits of the root, in units of ``weight``.
        weight: What the newest feedback counted; it grows instead of all counts shrinking.
    """

    def __init__(self, hierarchy: SemanticHierarchy, half_life: float = 10_000.0) -> None:
        self.half_life = real("half_life", half_life, least=1)
        self.visits = [np.zeros(len(nodes)) for nodes in hierarchy.centroids]
        self.successes = [np.zeros(len(nodes)) for nodes in hierarchy.centroids]
        self.total = 0.0
        self.weight = 1.0
        self._parents = [hierarchy.parents(level) for level in range(hierarchy.depth)]

    def record(self, visited: list[NDArray[np.int64]], path: list[int]) -> None:
        """Counts one feedback.

        Args:
            visited: Per level the nodes that the descent kept.
            path: The node of each level on the way to the right answer's leaf.
        """
        self.weight *= 2 ** (1 / self.half_life)
        self.total += self.weight
        for level, nodes in enumerate(visited):
            # The way to the answer counts as visited even where the beam missed it: else it had successes
            # without visits.
            self.visits[level][np.union1d(nodes, path[level])] += self.weight
            self.successes[level][path[level]] += self.weight
        if self.weight > _RESCALE_AT:
            self._rescale()

    def _rescale(self) -> None:
        for counts in (*self.visits, *self.successes):
            counts /= self.weight
        self.total /= self.weight
        self.weight = 1.0

    def prior(self, success_weight: float, exploration: float) -> list[NDArray[np.float32]]:
        """Per level ``[M_l]`` float32: what is added to a node's similarity."""
        priors = []
        above = np.array([self.total])
        for level, parents in enumerate(self._parents):
            parent_visits = above[parents] / self.weight + 1.0
            edge_visits = self.visits[level] / self.weight + 1.0
            success_share = self.successes[level] / self.weight / parent_visits
            bonus = np.sqrt(np.log(parent_visits) / edge_visits)
            priors.append((success_weight * success_share + exploration * bonus).astype(np.float32))
            above = self.visits[level]
        return priors
