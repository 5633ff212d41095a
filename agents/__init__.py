"""Agents that calibrate attention, behind one protocol; and the tree search they plan with.

Everything is imported when it is first asked for: `agents.search` stands without the agents, and the agents
without the libraries that some of them need (`make_agent("ppo")` imports Stable-Baselines3).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.base import Agent, DecisionProcess, Game, PlanResult, roll
    from agents.baselines.greedy import GreedyAgent
    from agents.baselines.none import NoneAgent
    from agents.baselines.random import RandomAgent
    from agents.baselines.random_search import RandomSearchAgent
    from agents.mcts.agent import MctsAgent
    from agents.mcts.network import Learner, PolicyValueNetwork
    from agents.mcts.problem import PlanningProblem
    from agents.registry import AGENTS, make_agent, register
    from agents.rollout import PlayedRows, play

_MODULES = {
    "AGENTS": "registry",
    "Agent": "base",
    "DecisionProcess": "base",
    "Game": "base",
    "GreedyAgent": "greedy",
    "Learner": "policy",
    "MctsAgent": "mcts",
    "NoneAgent": "none",
    "PlanResult": "base",
    "PlanningProblem": "planning",
    "PlayedRows": "played",
    "PolicyValueNetwork": "policy",
    "RandomAgent": "random",
    "RandomSearchAgent": "random_search",
    "make_agent": "registry",
    "play": "played",
    "register": "registry",
    "roll": "base",
}

__all__ = [
    "AGENTS",
    "Agent",
    "DecisionProcess",
    "Game",
    "GreedyAgent",
    "Learner",
    "MctsAgent",
    "NoneAgent",
    "PlanResult",
    "PlanningProblem",
    "PlayedRows",
    "PolicyValueNetwork",
    "RandomAgent",
    "RandomSearchAgent",
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
