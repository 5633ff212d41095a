"""Agents that calibrate attention, behind one protocol; and the tree search they plan with.

Everything is imported when it is first asked for: ``agents.search`` stands without the agents, and the agents
(``AGENTS["ppo"]``, ``make_agent("ppo")``) without the libraries that only some of them need.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.base import Agent, DecisionProcess, PlanResult
    from agents.registry import AGENTS, make_agent, register
    from agents.rollout import Rollout, roll, roll_repeatedly

__all__ = [
    "AGENTS",
    "Agent",
    "DecisionProcess",
    "PlanResult",
    "Rollout",
    "make_agent",
    "register",
    "roll",
    "roll_repeatedly",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name in __all__:
        for module in ("base", "registry", "rollout"):
            found = vars(importlib.import_module(f"{__name__}.{module}"))
            if name in found:
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
