"""Batched tree search: tensors instead of node objects, one search for a whole batch."""

from agents.search.search import Effort, Summary, Walk, backup, expand, search, select, summarize
from agents.search.selection import Score, choose, min_max, most_visited, uct
from agents.search.tree import NO_PARENT, UNVISITED, Problem, Root, Step, Tree, advance, close, plant

__all__ = [
    "NO_PARENT",
    "UNVISITED",
    "Effort",
    "Problem",
    "Root",
    "Score",
    "Step",
    "Summary",
    "Tree",
    "Walk",
    "advance",
    "backup",
    "choose",
    "close",
    "expand",
    "min_max",
    "most_visited",
    "plant",
    "search",
    "select",
    "summarize",
    "uct",
]
