"""Registry of the agents by name, whose modules are imported when they are first asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from agents.base import Agent


class Registry(MutableMapping[str, type[Agent]]):
    """Agents by name.

    Args:
        modules: Where agents that are not imported yet are registered, by their name.
    """

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._known: dict[str, type[Agent] | str] = dict(modules)

    def __getitem__(self, name: str) -> type[Agent]:
        found = self._known[name]
        if isinstance(found, str):
            importlib.import_module(found)
            found = self._known[name]
            assert not isinstance(found, str), f"importing its module did not register the agent {name!r}"
        return found

    def __setitem__(self, name: str, agent: type[Agent]) -> None:
        self._known[name] = agent

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known  # without importing anything

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


AGENTS = Registry(
    {
        "a2c": "agents.sb3.on_policy",
        "dqn": "agents.sb3.dqn",
        "fixed": "agents.baselines.fixed",
        "greedy": "agents.baselines.greedy",
        "mcts": "agents.mcts.agent",
        "none": "agents.baselines.none",
        "ppo": "agents.sb3.on_policy",
        "ppo_torchrl": "agents.torchrl.ppo",
        "random": "agents.baselines.random",
        "random_search": "agents.baselines.random_search",
    }
)
"""All agents by name."""

AgentType = TypeVar("AgentType", bound=type[Agent])


def register(name: str) -> Callable[[AgentType], AgentType]:
    """Register an agent under a name: a class decorator."""

    def decorate(agent: AgentType) -> AgentType:
        agent.name = name
        AGENTS[name] = agent
        return agent

    return decorate


def make_agent(name: str, **settings: Any) -> Agent:
    """Make an agent by its name.

    Raises:
        ValueError: No agent is called so, or it does not have such a setting.
    """
    known = ", ".join(sorted(AGENTS))
    if name not in AGENTS:
        close = difflib.get_close_matches(name, AGENTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"agent={name}: there is no such agent{hint} Known: {known}")
    try:
        return AGENTS[name](**settings)
    except TypeError as error:
        raise ValueError(f"agent={name}: {error}") from error
