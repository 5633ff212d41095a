"""Random search, the control at equal budget: the best of many tries, and the best fixed calibration.

With labels it keeps the best of random episodes, without learning anything. Without labels there is nothing
to choose by, so the fair control is the best calibration that is the same for every query: what one would
find by tuning the attention by hand. An agent that looks at observations has to beat that one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import DecisionProcess, PlanResult
from agents.baselines.constant_calibration import ConstantCalibrationAgent
from agents.registry import register
from agents.rollout import Rollout, make_actions
from agents.seeding import uniform
from agents.settings import at_least

RACE = ("sequences", "count", "total", "squares", "running", "waiting")
"""Tensors of a race that are saved."""


@register("random_search")
class RandomSearchAgent(ConstantCalibrationAgent):
    """Keeps the best of what it tries, and learns which fixed sequence of actions does best on average.

    Sequences are drawn at random and tried on whole batches of labeled episodes, illegal actions left out.
    After every round in which all that are in the race had one try, the better half stays (successive
    halving; Karnin et al., 2013), until one is left: the champion, which then meets new ones. So good
    sequences are tried on more and more episodes. Without labels it applies the one whose gain has the
    highest lower confidence bound, the mean less ``lcb_coef`` standard errors, if that is positive.

    Args:
        budget: Largest number of evaluations per episode.
        candidates: Number of sequences that a race begins with.
        lcb_coef: Number of standard errors that the mean gain of a sequence must exceed, as the best of many
            means is more often lucky than good.
    """

    part = "race"

    def __init__(self, budget: int = 32, *, candidates: int = 64, lcb_coef: float = 2.0) -> None:
        super().__init__(budget, lcb_coef)
        at_least(2, candidates=candidates)
        self.candidates = candidates

    @override
    def make_search(self, actions: int, horizon: int, stop: int | None) -> Race:
        return Race(actions, horizon, stop)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        if self.budget == 0:
            return self.plan(core, episode, generator)
        rollout = Rollout(core, episode, keep_best=True)
        race: Race = self.bind(core)
        for _ in range(self.budget):  # no more tries than that: what is illegal everywhere costs nothing
            if race.over:
                race.begin(self.candidates, min(core.horizon, self.budget), generator)
            chosen = race.next(self.budget - int(rollout.evaluations.max()))
            if chosen is None:
                break
            rollout.reset()
            make_actions(rollout, race.sequences[chosen].expand(rollout.count, -1))
            race.record(chosen, rollout.return_)
        return rollout.result(self.search_statistics())


class Race:
    """Race between sequences of actions: what each has gained, and which are still in it.

    Attributes:
        sequences: i64 ``[K, horizon]``, -1 after the end.
        count: Number of episodes that each was tried on, i64 ``[K]``.
        total: Sum of the gains of each, float64 ``[K]``.
        squares: Sum of the squared gains of each, float64 ``[K]``.
        running: Indices of the sequences that are in the race, i64.
        waiting: Indices of those that await their try in this round, i64.
    """

    def __init__(self, actions: int, horizon: int, stop: int | None) -> None:
        self.actions, self.horizon, self.stop = actions, horizon, stop
        self.sequences = torch.full((0, horizon), -1)
        self.count = torch.zeros(0, dtype=torch.int64)
        self.total = torch.zeros(0, dtype=torch.float64)
        self.squares = torch.zeros(0, dtype=torch.float64)
        self.running = self.waiting = torch.zeros(0, dtype=torch.int64)

    @property
    def over(self) -> bool:
        """Whether one sequence has won, or there is none yet."""
        return len(self.running) <= 1

    def begin(self, candidates: int, longest: int, generator: torch.Generator) -> None:
        """Let the champion meet new sequences of 1 to ``longest`` actions; the losers are forgotten."""
        champion = self.running
        new = candidates - len(champion)
        cpu = torch.device("cpu")
        legal = torch.tensor([action for action in range(self.actions) if action != self.stop])
        drawn = legal[(uniform((new, self.horizon), generator, cpu) * len(legal)).long()]
        length = 1 + (uniform((new, 1), generator, cpu) * longest).long()
        drawn = torch.where(torch.arange(self.horizon) < length, drawn, -1)
        zero = torch.zeros(new, dtype=torch.float64)
        self.sequences = torch.cat([self.sequences[champion], drawn])
        self.count = torch.cat([self.count[champion], zero.long()])
        self.total = torch.cat([self.total[champion], zero])
        self.squares = torch.cat([self.squares[champion], zero])
        self.running = self.waiting = torch.arange(candidates)

    def length(self, which: int) -> int:
        """Number of actions in a sequence."""
        return int((self.sequences[which] >= 0).sum())

    def next(self, longest: int) -> int | None:
        """Index of the first waiting sequence of at most ``longest`` actions, None if all are longer."""
        return next((which for which in self.waiting.tolist() if self.length(which) <= longest), None)

    def record(self, which: int, gain: Tensor) -> None:
        """Record the gains of a try, ``[B]``; at the end of a round the worse half leaves."""
        gain = gain.double().cpu()
        self.count[which] += len(gain)
        self.total[which] += gain.sum()
        self.squares[which] += gain.square().sum()
        self.waiting = self.waiting[self.waiting != which]
        if len(self.waiting) == 0:
            order = self.mean()[self.running].argsort(descending=True, stable=True)
            self.running = self.running[order[: len(order) // 2]].sort().values
            self.waiting = self.running

    def mean(self) -> Tensor:
        """Mean gain of each sequence, float64 ``[K]``; 0 if it is untried."""
        return self.total / self.count.clamp_min(1)

    def surest(self, lcb_coef: float) -> tuple[Tensor, float, int]:
        """Sequence with the highest lower confidence bound, the bound, and its episodes; none if untried."""
        if not bool((self.count > 1).any()):
            return torch.full((0,), -1), 0.0, 0
        mean, count = self.mean(), self.count.clamp_min(2)
        variance = (self.squares - count * mean.square()).clamp_min(0) / (count - 1)
        bound = mean - lcb_coef * (variance / count).sqrt()
        bound = bound.masked_fill(self.count < 2, -torch.inf)
        value, which = bound.max(0)
        return self.sequences[which], float(value), int(self.count[which])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        return {name: getattr(self, name) for name in RACE}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``tensors`` returned.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        count = len(tensors["count"])
        for name, shape in {"sequences": [count, self.horizon], "total": [count], "squares": [count]}.items():
            if list(tensors[name].shape) != shape:
                raise ValueError(f"{name}: expected {shape}, got {list(tensors[name].shape)}")
        for name in RACE:
            setattr(self, name, tensors[name])
