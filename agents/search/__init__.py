"""Batched tree search: tensors instead of node objects, one search for a whole batch."""

from agents.search.compaction import compact
from agents.search.kernels.jit import compiled_step
from agents.search.policies.base import Described, Edges, Policy, Rule, Selector, most_visited, visit_share
from agents.search.policies.gumbel import considered_visits, gumbel
from agents.search.policies.noise import dirichlet_noise, gumbel_noise, mix
from agents.search.policies.qtransforms import by_parent_and_siblings, completed_by_mixed_value, min_max
from agents.search.policies.ucb import choose, puct, uct
from agents.search.search import Effort, search
from agents.search.simulate import Walk, backup, expand, root_edges, select
from agents.search.summary import Summary, summarize
from agents.search.tree import (
    NO_PARENT,
    UNVISITED,
    CompiledProblem,
    Problem,
    Root,
    Step,
    Tree,
    advance,
    close,
    plant,
)

__all__ = [
    "NO_PARENT",
    "UNVISITED",
    "CompiledProblem",
    "Described",
    "Edges",
    "Effort",
    "Policy",
    "Problem",
    "Root",
    "Rule",
    "Selector",
    "Step",
    "Summary",
    "Tree",
    "Walk",
    "advance",
    "backup",
    "by_parent_and_siblings",
    "choose",
    "close",
    "compact",
    "compiled_step",
    "completed_by_mixed_value",
    "considered_visits",
    "dirichlet_noise",
    "expand",
    "gumbel",
    "gumbel_noise",
    "min_max",
    "mix",
    "most_visited",
    "plant",
    "puct",
    "root_edges",
    "search",
    "select",
    "summarize",
    "uct",
    "visit_share",
]
