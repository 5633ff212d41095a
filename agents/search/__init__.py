"""Batched tree search: tensors instead of node objects, one search for a whole batch."""

from agents.search.compaction import compact
from agents.search.policies.base import (
    Edges,
    KernelSelector,
    KernelSpec,
    Policy,
    Selector,
    most_visited,
    visit_share,
)
from agents.search.policies.gumbel import considered_visits, gumbel
from agents.search.policies.noise import dirichlet_noise, gumbel_noise, mix
from agents.search.policies.qtransforms import by_parent_and_siblings, completed_by_mixed_value, min_max
from agents.search.policies.ucb import choose, puct, uct
from agents.search.search import Backend, SearchCost, search
from agents.search.simulate import Walk, backup, expand, root_edges, select
from agents.search.summary import Summary, summarize
from agents.search.tree import (
    NO_PARENT,
    UNVISITED,
    Problem,
    Root,
    Step,
    Tree,
    init_tree,
    mark_terminal,
    reroot,
)

__all__ = [
    "NO_PARENT",
    "UNVISITED",
    "Backend",
    "Edges",
    "KernelSelector",
    "KernelSpec",
    "Policy",
    "Problem",
    "Root",
    "SearchCost",
    "Selector",
    "Step",
    "Summary",
    "Tree",
    "Walk",
    "backup",
    "by_parent_and_siblings",
    "choose",
    "compact",
    "completed_by_mixed_value",
    "considered_visits",
    "dirichlet_noise",
    "expand",
    "gumbel",
    "gumbel_noise",
    "init_tree",
    "mark_terminal",
    "min_max",
    "mix",
    "most_visited",
    "puct",
    "reroot",
    "root_edges",
    "search",
    "select",
    "summarize",
    "uct",
    "visit_share",
]
