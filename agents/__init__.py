"""Agents that calibrate attention, behind one protocol; and the tree search they plan with.

PPO, A2C and DQN stand on libraries that take seconds to import, which happens when they are first made:
`make_agent("ppo")`.
"""

from agents.base import Agent, DecisionProcess, Game, PlanResult, roll
from agents.greedy import GreedyAgent
from agents.mcts import MctsAgent
from agents.none import NoneAgent
from agents.planning import PlanningProblem
from agents.played import PlayedRows, play
from agents.policy import Learner, PolicyValueNetwork
from agents.random import RandomAgent
from agents.random_search import RandomSearchAgent
from agents.registry import AGENTS, make_agent, register

AGENTS.later("agents.on_policy", "ppo", "a2c")
AGENTS.later("agents.dqn", "dqn")
AGENTS.later("agents.torchrl_ppo", "ppo_torchrl")

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
