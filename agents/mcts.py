"""Monte Carlo tree search on the functional core, and the network that learns to do without its labels.

Planning (3DAlign-DAER's Dynamic Attention Policy): UCT over calibrations, for a whole batch of episodes at
once, rewarded by what the labels say. Expert iteration (Anthony et al., 2017; Silver et al., 2017): a network
learns from the visits and returns of the search what to do from the observation alone. It guides later
searches, and acts at query time, when there are no labels and so no rewards to search by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from agents.base import Agent, DecisionProcess, Game, PlanResult, register, roll, split_budget, uniform
from agents.policy import Learner, PolicyValueNetwork
from agents.search import Root, Step, Summary, Tree, advance, close, plant, search, summarize, uct

Commit = Literal["best", "visits"]

ROUNDING = 1e-6
"""A line that loses no more than this loses nothing: it is followed, as it may yet lead to a gain."""

TEMPERATURE = 0.1
"""By how much of the spread of a tree's returns an action must fall behind to count e times less."""


def gumbel(uniforms: Tensor) -> Tensor:
    """Standard Gumbel noise out of uniform numbers in [0, 1)."""
    return -torch.log(-torch.log(uniforms.clamp(1e-7, 1 - 1e-7)))


class PlanningProblem:
    """A core as a problem for the search: `stop` is left out, and each node considers a few actions.

    `stop` earns exactly nothing, so its value is known everywhere and no simulation is spent on it. Of the
    other legal actions a node considers `width`, drawn without replacement from the guide's policy by adding
    Gumbel noise to its logits (Kool et al., 2019; sampled actions as in Hubert et al., 2021), and tries them
    in that order.

    What an action has earned anywhere in a row's tree speaks for it everywhere in that tree: its mean reward,
    in standard deviations of the row's rewards, is added to the logits. Calibrations commute and nearly add
    up, so this says much (a history of moves, as in MAST, Finnsson and Björnsson, 2008).

    Args:
        core: The decision process.
        episode: `B` rows.
        guide: Gives logits `[B, A]` for observations `[B, O]`; None prefers nothing.
        width: Actions that a node considers, None for all.
        history: Weight of what an action has earned elsewhere in the tree.
        noise: Gumbel noise, a slice `[B, A]` for each node and each search, `[B, nodes + searches, A]`.
    """

    def __init__(
        self,
        core: DecisionProcess,
        episode: Any,
        guide: PolicyValueNetwork | None,
        width: int | None,
        history: float,
        noise: Tensor,
    ) -> None:
        self.core, self.episode, self.guide, self.width = core, episode, guide, width
        self.history, self.noise = history, noise
        self._drawn = 0
        batch, _, actions = noise.shape
        self._tried = torch.zeros(batch, actions, device=noise.device)  # times, by action
        self._earned = torch.zeros_like(self._tried)  # sum of rewards, by action
        self._squares = torch.zeros_like(self._tried[:, :1])  # sum of squared rewards, `[B, 1]`

    def root(self, state: Any) -> Root:
        """Where the search starts."""
        mask, prior = self._considered(state)
        return Root(state, mask, self.core.done(state), prior)

    def step(self, state: Any, action: Tensor, needed: Tensor) -> Step:
        """One transition of the core."""
        following = self.core.transition(self.episode, state, action, needed)
        reward, _ = self.core.reward(self.episode, state, action, following)
        self._tried.scatter_add_(1, action.unsqueeze(1), needed.to(reward).unsqueeze(1))
        self._earned.scatter_add_(1, action.unsqueeze(1), (reward * needed).unsqueeze(1))
        self._squares += (reward * needed).square().unsqueeze(1)
        mask, prior = self._considered(following)
        return Step(following, reward, self.core.done(following), mask, prior=prior)

    def reconsider(self, tree: Tree) -> None:
        """Order the untried actions of the roots anew, by what is known now; tried ones stay."""
        rows = torch.arange(len(tree.root), device=tree.root.device)
        mask, prior = self._considered(tree.state[rows, tree.root])
        tree.prior[rows, tree.root] = prior.masked_fill(~mask, -torch.inf)

    def _experience(self) -> Tensor:
        """Mean reward of each action, in the row's standard deviations, 0 where untried, `[B, A]`."""
        scale = (self._squares / self._tried.sum(1, keepdim=True).clamp_min(1)).sqrt().clamp_min(1e-12)
        return self._earned / self._tried.clamp_min(1) / scale

    def _considered(self, state: Any) -> tuple[Tensor, Tensor]:
        mask = self.core.mask(self.episode, state).clone()
        if self.core.stop is not None:
            mask[:, self.core.stop] = False
        prior = self.noise[:, self._drawn] + self.history * self._experience()
        self._drawn += 1
        if self.guide is not None:
            with torch.no_grad():
                prior = prior + self.guide(self.core.observation(self.episode, state))[0]
        if self.width is not None and self.width < mask.shape[1]:
            ranked = prior.masked_fill(~mask, -torch.inf)
            least = ranked.topk(self.width, dim=-1).values[:, -1:]
            mask &= ranked >= least
        return mask, prior


@dataclass
class _Decision:
    """What is learnt from at one move, `[B, ...]` each."""

    observation: Tensor
    mask: Tensor
    policy: Tensor
    learnt: Tensor
    reward: Tensor


@register("mcts")
class MctsAgent(Agent):
    """Plans by UCT, learns by expert iteration, acts by its network where there are no labels.

    Args:
        budget: Evaluations an episode may cost, over all its moves.
        exploration: `c` of UCT, for returns scaled to [0, 1].
        discount: Weight of later rewards within the search.
        searches: Moves that are searched before, which share the budget; the moves after them follow the best
            line found. None searches before each.
        width: Actions that a node considers, None for all: the smaller, the deeper a search looks.
        commit: Move by the `best` return found (the problem is deterministic, so it can be had), or by most
            `visits`, of equals by the mean return.
        history: Weight of what an action has earned elsewhere in the tree, when untried actions are ordered.
        guide: Whether the network proposes actions to the search.
        hidden: Width of the network.
        learning_rate: Of Adam.
        replay: Decisions that are remembered.
        batch_size: Decisions in a gradient step.
        updates: Gradient steps for each batch of episodes that is learnt from.
        value_weight: Weight of the value's loss.
        seed: Of the network's initial weights.
    """

    acts_without_labels = True

    def __init__(
        self,
        budget: int = 32,
        *,
        exploration: float = 1.0,
        discount: float = 1.0,
        searches: int | None = None,
        width: int | None = None,
        commit: Commit = "best",
        history: float = 2.0,
        guide: bool = True,
        hidden: int = 128,
        learning_rate: float = 1e-3,
        replay: int = 8192,
        batch_size: int = 256,
        updates: int = 8,
        value_weight: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(budget)
        for name, value in (("searches", searches), ("width", width), ("replay", replay)):
            if value is not None and value < 1:
                raise ValueError(f"agent.{name}={value}: must be 1 or more")
        if commit not in get_args(Commit):
            raise ValueError(f"agent.commit={commit}: must be one of {', '.join(get_args(Commit))}")
        self.exploration, self.discount, self.commit = exploration, discount, commit
        self.searches, self.width, self.history, self.guide = searches, width, history, guide
        self.hidden, self.learning_rate, self.seed = hidden, learning_rate, seed
        self.replay_size, self.batch_size, self.updates = replay, batch_size, updates
        self.value_weight = value_weight
        self._learner: Learner | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self._plan(core, episode, generator)[0]

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return roll(core, episode, lambda observation, mask: self.act(core, observation, mask), self.budget)

    def act(self, core: DecisionProcess, observation: Tensor, mask: Tensor) -> Tensor:
        """The network's preferred legal action, i64 `[B]`, for observations `[B, O]` and masks `[B, A]`."""
        with torch.no_grad():
            logits, _ = self._bind(core, observation.device).network(observation)
        return logits.masked_fill(~mask, -torch.inf).argmax(-1)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        result, decisions = self._plan(core, episode, generator)
        learner = self._bind(core, result.return_.device)
        gain = torch.zeros_like(result.return_)
        for decision in reversed(decisions):
            gain = decision.reward + self.discount * gain
            rows = decision.learnt
            learner.replay.add(
                observation=decision.observation[rows],
                mask=decision.mask[rows],
                policy=decision.policy[rows],
                value=gain[rows],
            )
        result.statistics |= learner.update(self.updates, self.batch_size, self.value_weight, generator)
        return result

    def _plan(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator
    ) -> tuple[PlanResult, list[_Decision]]:
        game = Game(core, episode)
        device, batch = game.alive.device, len(game.alive)
        guide = self._bind(core, device).network if self.guide else None
        searches = min(self.searches or core.horizon, core.horizon)
        uniforms = uniform((batch, self.budget + 1 + searches, core.actions), generator, device)
        problem = PlanningProblem(core, episode, guide, self.width, self.history, gumbel(uniforms))
        tree = plant(problem.root(game.state), self.budget + 1)
        shares = split_budget(self.budget, searches) + [0] * (core.horizon - searches)
        rows = torch.arange(batch, device=device)
        spent, edges = torch.zeros_like(rows), torch.zeros_like(rows)
        decisions: list[_Decision] = []
        first: Summary | None = None
        for share in shares:
            alive = game.alive
            if not bool(alive.any()):
                break
            if share > 0 and decisions:
                problem.reconsider(tree)
            effort = search(tree, problem, share, uct(self.exploration), self.discount)
            summary = summarize(tree)
            first = first or summary
            spent, edges = spent + effort.steps, edges + effort.edges
            action, moves = self._decide(summary, alive)
            observation, mask = core.observation(episode, game.state), core.mask(episode, game.state)

            close(tree, ~moves)
            advance(tree, action)
            following = tree.state[rows, tree.root]
            policy = self._target(summary, tree)
            learnt = alive
            if core.stop is None:
                action, learnt = torch.where(moves, action, -1), moves
            else:
                stops = alive & ~moves
                stop = torch.full_like(action, core.stop)
                action = torch.where(stops, stop, action)
                following = core.transition(episode, following, stop, stops)
                policy = torch.where(stops.unsqueeze(-1), one_hot(stop, core.actions).to(policy), policy)
            reward = game.move(action, following)
            decisions.append(_Decision(observation, mask, policy, learnt, reward))
        statistics = {"search/depth": float(edges.sum() / spent.sum().clamp_min(1))}
        if first is not None:
            statistics["search/visit_entropy"] = float(first.entropy.mean())
            statistics["search/root_value"] = float(first.value.mean())
        return game.result(spent, statistics), decisions

    def _decide(self, summary: Summary, alive: Tensor) -> tuple[Tensor, Tensor]:
        """The action to make, i64 `[B]`, and the rows in which one is worth making, bool `[B]`."""
        if self.commit == "best":
            gain, action = summary.best.max(-1)
        else:
            action = summary.action
            gain = summary.values.gather(1, action.unsqueeze(1)).squeeze(1)
        return action, alive & (gain > -ROUNDING) & (summary.visits.sum(-1) > 0)

    def _target(self, summary: Summary, tree: Tree) -> Tensor:
        """What the network should do at the roots, `[B, A]`; rows that stop are seen to by the caller.

        The visits; where moves are made by the best return, they are weighted by it: at a budget of a few
        visits an action, most of what a search has found out is in the returns.
        """
        weight = summary.visits.float()
        if self.commit == "best":
            behind = summary.best - summary.best.amax(-1, keepdim=True)
            spread = (tree.high - tree.low).clamp_min(1e-9).unsqueeze(-1)
            weight = torch.where(summary.visits > 0, weight * (behind / (TEMPERATURE * spread)).exp(), 0.0)
        return weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)

    def _bind(self, core: DecisionProcess, device: torch.device) -> Learner:
        if self._learner is None:
            network = PolicyValueNetwork(
                core.observation_size, core.actions, self.hidden, core.stop, self.seed
            )
            self._learner = Learner(network, self.learning_rate, self.replay_size)
        network = self._learner.network
        for name, ours, theirs in (
            ("actions", network.actions, core.actions),
            ("observations", network.observation_size, core.observation_size),
        ):
            if ours != theirs:
                raise ValueError(f"mcts: learnt with {name} of size {ours}, but here it is {theirs}")
        self._learner.to(device)
        return self._learner

    @override
    def export_state(self) -> dict[str, Tensor]:
        return {} if self._learner is None else self._learner.export_state()

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        if not state:
            self._learner = None
            return
        try:
            body, policy = state["network/body.0.weight"], state["network/policy.weight"]
        except KeyError as error:
            raise ValueError(f"mcts: the state has no {error.args[0]}; it is of another agent") from error
        if len(body) != self.hidden or len(state["replay/value"]) != self.replay_size:
            raise ValueError(
                f"mcts: the state is of agent.hidden={len(body)}, agent.replay={len(state['replay/value'])}, "
                f"but here they are {self.hidden} and {self.replay_size}; use equal settings"
            )
        network = PolicyValueNetwork(body.shape[1], len(policy), self.hidden, None, self.seed)
        self._learner = Learner(network, self.learning_rate, self.replay_size)
        self._learner.import_state(state)
