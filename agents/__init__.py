"""Agents that calibrate attention, behind one protocol; and the tree search they plan with.

Everything is imported when it is first asked for: `agents.search` stands without the agents, and the agents
without the libraries that some of them need (`make_agent("ppo")` imports Stable-Baselines3).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.base import Agent, DecisionProcess, PlanResult, Rollout, roll
    from agents.baselines.greedy import GreedyAgent
    from agents.baselines.none import NoneAgent
    from agents.baselines.random import RandomAgent
    from agents.baselines.random_search import RandomSearchAgent
    from agents.mcts.agent import MctsAgent
    from agents.mcts.network import PolicyValueNetwork, Trainer
    from agents.mcts.problem import PlanningProblem
    from agents.registry import AGENTS, make_agent, register
    from agents.rollout import BestReturnRunner, play

_MODULES = {
    "AGENTS": "registry",
    "Agent": "base",
    "DecisionProcess": "base",
    "Rollout": "base",
    "GreedyAgent": "baselines.greedy",
    "Trainer": "mcts.network",
    "MctsAgent": "mcts.agent",
    "NoneAgent": "baselines.none",
    "PlanResult": "base",
    "PlanningProblem": "mcts.problem",
    "BestReturnRunner": "rollout",
    "PolicyValueNetwork": "mcts.network",
    "RandomAgent": "baselines.random",
    "RandomSearchAgent": "baselines.random_search",
    "make_agent": "registry",
    "play": "rollout",
    "register": "registry",
    "roll": "base",
}

__all__ = [
    "AGENTS",
    "Agent",
    "BestReturnRunner",
    "DecisionProcess",
    "GreedyAgent",
    "MctsAgent",
    "NoneAgent",
    "PlanResult",
    "PlanningProblem",
    "PolicyValueNetwork",
    "RandomAgent",
    "RandomSearchAgent",
    "Rollout",
    "Trainer",
    "make_agent",
    "play",
    "register",
    "roll",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
