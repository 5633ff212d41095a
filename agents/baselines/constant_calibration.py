"""Base class of the agents that make one calibration for all queries, whose search for it differs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult
from agents.rollout import Rollout, make_actions, roll_repeatedly
from agents.seeding import uniform
from agents.settings import at_least
from agents.state_tensors import by_part, flat


class ConstantSearch(Protocol):
    """Search for the sequence of actions that earns most on average.

    Attributes:
        actions: Number of actions, ``A``.
        horizon: Largest number of actions of a sequence.
        stop: Action that ends an episode, None without one.
    """

    actions: int
    horizon: int
    stop: int | None

    def surest(self, lcb_coef: float) -> tuple[Tensor, float, int]:
        """Sequence to act by, i64 ``[n]``, the lower bound of its gain, and its number of episodes."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``tensors`` returned.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        ...


Search = TypeVar("Search", bound=ConstantSearch)


class ConstantCalibrationAgent(Agent):
    """Agent that makes the same calibration for every query, if its gain is sure enough.

    With labels it keeps, for each episode by itself, the best of random tries. Without labels it makes the
    calibration that its search trusts most if the lower confidence bound of the gain, the mean less
    ``lcb_coef`` standard errors, is positive. Actions that are illegal in a row are left out there.

    Args:
        budget: Largest number of evaluations per episode.
        lcb_coef: Number of standard errors that the mean gain of a calibration must exceed.
    """

    acts_without_labels = True
    part: ClassVar[str]
    """Name of the search among the tensors that are saved."""

    def __init__(self, budget: int, lcb_coef: float) -> None:
        super().__init__(budget)
        at_least(0, lcb_coef=lcb_coef)
        self.lcb_coef = lcb_coef
        self._search: ConstantSearch | None = None

    @abstractmethod
    def make_search(self, actions: int, horizon: int, stop: int | None) -> ConstantSearch:
        """Make a search that has tried nothing yet."""

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        def draw(observation: Tensor, mask: Tensor) -> Tensor:
            keys = uniform(tuple(mask.shape), generator, mask.device).masked_fill(~mask, -2.0)
            if core.stop is not None:
                keys[:, core.stop] -= 1.0  # only where nothing else is left: whole episodes
            return keys.argmax(-1)

        return roll_repeatedly(core, episode, draw, self.budget)

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        rollout = Rollout(core, episode)
        sequence, bound, _ = self.bind(core).surest(self.lcb_coef)
        if bound > 0:
            make_actions(rollout, sequence[: self.budget].expand(rollout.count, -1))
        if core.stop is not None and bool(rollout.alive.any()):
            rollout.move(torch.full_like(rollout.evaluations, core.stop))
        return rollout.result()

    def bind(self, core: DecisionProcess) -> Any:
        """The search, which is made when it is first needed.

        Raises:
            ValueError: The core has another number of actions or another horizon than what it learned with.
        """
        if self._search is None:
            self._search = self.make_search(core.actions, core.horizon, core.stop)
        ours, theirs = (self._search.actions, self._search.horizon), (core.actions, core.horizon)
        if ours != theirs:
            raise ValueError(
                f"{self.name}: learned with {ours[0]} actions and a horizon of {ours[1]}, but here they are "
                f"{theirs[0]} and {theirs[1]}"
            )
        return self._search

    def search_statistics(self) -> dict[str, float]:
        """Numbers for the log: the bound of the calibration that it acts by, and how often that was tried."""
        assert self._search is not None
        _, bound, episodes = self._search.surest(self.lcb_coef)
        return {"search/surest_gain": bound, "search/episodes_of_surest": float(episodes)}

    @override
    def export_state(self) -> dict[str, Tensor]:
        return {} if self._search is None else flat(**{self.part: search_tensors(self._search)})

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._search = None
        if state:
            tensors = by_part(state, self.name, self.part)[self.part]
            self._search = restore_search(self.name, self.make_search, tensors)


def search_tensors(search: ConstantSearch) -> dict[str, Tensor]:
    """Everything of a search that is saved, and the sizes that it is made with, by name."""
    sizes = torch.tensor([search.actions, search.horizon, -1 if search.stop is None else search.stop])
    return {"sizes": sizes} | search.tensors()


def restore_search(
    agent: str, make: Callable[[int, int, int | None], Search], tensors: dict[str, Tensor]
) -> Search:
    """Make a search of what ``search_tensors`` returned.

    Args:
        agent: Name of the agent, for the message.
        make: Maker of searches, by their numbers of actions and of steps and by their ``stop``.
        tensors: Everything by name.

    Raises:
        ValueError: A tensor is missing, or the shapes do not fit together.
    """
    try:
        actions, horizon, stop = tensors["sizes"].tolist()
        search = make(actions, horizon, None if stop < 0 else stop)
        search.restore({name: tensor.cpu().clone() for name, tensor in tensors.items()})
    except (KeyError, ValueError) as error:
        raise ValueError(f"{agent}: the state does not fit ({error}); it is not whole") from error
    return search
