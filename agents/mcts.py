"""Monte Carlo tree search on the functional core, and the network that learns to do without its labels.

Planning (3DAlign-DAER's Dynamic Attention Policy): UCT over calibrations, for a whole batch of episodes at
once, rewarded by what the labels say. Expert iteration (Anthony et al., 2017; Silver et al., 2017): a network
learns from the visits and returns of the search what to try, and guides later searches.

To imitate the search is not enough at query time. It knows the labels, so its choice is the luckiest of many
tries, and whoever copies it without the labels does harm on average. So the network also learns what an
action earns when nobody looks at labels: from the first tries of each search, which are drawn before any
reward is seen, and from practice, episodes that it plays by itself. It acts only where that is a gain.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from agents.base import Agent, DecisionProcess, Game, PlanResult, register, roll, split_budget, uniform
from agents.planning import PlanningProblem, gumbel
from agents.policy import Learner, PolicyValueNetwork
from agents.search import Summary, Tree, advance, close, plant, search, summarize, uct

Commit = Literal["best", "visits"]

ROUNDING = 1e-6
"""A line that loses no more than this loses nothing: it is followed, as it may yet lead to a gain."""

TEMPERATURE = 0.1
"""By how much of the spread of a tree's returns an action must fall behind to count e times less."""


class _Decision(NamedTuple):
    """What is learnt from one move of the search: which rows, bool `[B]`, and the replay's tensors."""

    learnt: Tensor
    rows: dict[str, Tensor]


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
        practice: Moves of the episode that is played without labels for each one that is learnt from, out of
            the same budget (at most half of it); None is the horizon.
        caution: Without labels, act only if the gain is expected to exceed so many standard errors of such
            predictions: the best of many predictions is more often lucky than good.
        explore: Share of the moves in practice that are drawn from the search's policy.
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
        practice: int | None = None,
        explore: float = 0.5,
        caution: float = 0.5,
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
        self.practice, self.explore, self.caution = practice, explore, caution
        self._learner: Learner | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self._plan(core, episode, generator, self.budget)[0]

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return roll(core, episode, lambda observation, mask: self.act(core, observation, mask), self.budget)

    def act(self, core: DecisionProcess, observation: Tensor, mask: Tensor) -> Tensor:
        """The action that is expected to gain most without labels, i64 `[B]`; `stop` if that is nothing.

        Without `stop` among the actions, -1 where nothing is expected to gain.

        Args:
            core: The decision process.
            observation: `[B, O]`.
            mask: Legal actions, bool `[B, A]`.
        """
        learner = self._bind(core, observation.device)
        with torch.no_grad():
            gains = learner.network(observation).gains
        gain, action = self._without_stop(core, gains.masked_fill(~mask, -torch.inf)).max(-1)
        return torch.where(
            gain > self.caution * learner.error.sqrt(), action, -1 if core.stop is None else core.stop
        )

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        moves = min(core.horizon if self.practice is None else self.practice, self.budget // 2)
        result, decisions = self._plan(core, episode, generator, self.budget - moves)
        learner = self._bind(core, result.return_.device)
        for decision in decisions:
            learner.replay.add(decision.learnt, **decision.rows)
        result.evaluations = result.evaluations + self._practise(core, episode, generator, moves)
        result.statistics |= learner.update(self.updates, self.batch_size, generator)
        return result

    def _practise(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, moves: int
    ) -> Tensor:
        """Play without labels, remember what came of it, and return the evaluations `[B]`.

        Some moves, and the first where it would stop at once, are drawn from the search's policy instead.
        """
        game = Game(core, episode)
        played: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        spent = torch.zeros_like(game.alive, dtype=torch.int64)
        for move in range(moves):
            alive = game.alive
            observation, mask = core.observation(episode, game.state), core.mask(episode, game.state)
            action = self.act(core, observation, mask)
            rests = action == (-1 if core.stop is None else core.stop)
            noise = uniform((len(alive), core.actions + 1), generator, alive.device)
            with torch.no_grad():
                logits = self._bind(core, alive.device).network(observation).logits
            keys = (logits + gumbel(noise[:, 1:])).masked_fill(~mask, -torch.inf)
            key, drawn = self._without_stop(core, keys).max(-1)
            draws = (noise[:, 0] < self.explore) | (rests & (move == 0))
            draws &= key > -torch.inf
            action = torch.where(draws, drawn, action)
            moving = alive & (draws | ~rests)
            if not bool(moving.any()):
                break
            reward = game.move(action)
            spent += moving
            played.append((observation, mask, action, moving, reward))
        gain = torch.zeros(len(spent), device=spent.device)
        replay = self._bind(core, spent.device).replay
        for observation, mask, action, moving, reward in reversed(played):
            gain = reward + self.discount * gain
            tried = one_hot(action.clamp_min(0), core.actions).bool()
            replay.add(
                moving,
                observation=observation,
                mask=mask,
                gains=gain.unsqueeze(1) * tried,
                tried=tried,
                value=gain,
                known=moving,
            )
        return spent

    @staticmethod
    def _without_stop(core: DecisionProcess, scores: Tensor) -> Tensor:
        """Scores `[B, A]` by which `stop` cannot be the best."""
        return (
            scores
            if core.stop is None
            else scores.index_fill(1, torch.tensor(core.stop, device=scores.device), -torch.inf)
        )

    def _plan(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, budget: int
    ) -> tuple[PlanResult, list[_Decision]]:
        game = Game(core, episode)
        device, batch = game.alive.device, len(game.alive)
        guide = self._bind(core, device).network if self.guide else None
        searches = min(self.searches or core.horizon, core.horizon)
        uniforms = uniform((batch, budget + 1 + searches, core.actions), generator, device)
        problem = PlanningProblem(core, episode, guide, self.width, self.history, gumbel(uniforms))
        tree = plant(problem.root(game.state), budget + 1)
        shares = split_budget(budget, searches) + [0] * (core.horizon - searches)
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
            game.move(action, following)
            decision = {"observation": observation, "mask": mask, "policy": policy}
            if not decisions:
                decision |= self._first_tries(core, episode, tree)
            decisions.append(_Decision(learnt, decision))
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

    def _first_tries(self, core: DecisionProcess, episode: Any, tree: Tree) -> dict[str, Tensor]:
        """What the actions tried in the first state earn without labels: their reward, and what may follow.

        The first state is the only one of the search that was not reached by looking at labels.
        """
        tried = tree.visits[:, 0] > 0  # [B, A]
        gains = tree.rewards[:, 0].clone()
        network = self._bind(core, gains.device).network
        rows = torch.arange(len(gains), device=gains.device)
        for node in range(1, tree.capacity):
            child = (tree.parent[:, node] == 0) & (node < tree.used)
            if not bool(child.any()):
                continue
            with torch.no_grad():
                value = network(core.observation(episode, tree.state[:, node])).value
            ahead = child & ~tree.terminal[:, node]
            gains[rows, tree.parent_action[:, node]] += self.discount * value.clamp_min(0) * ahead
        return {"gains": gains * tried, "tried": tried}

    def _bind(self, core: DecisionProcess, device: torch.device) -> Learner:
        if self._learner is None:
            network = PolicyValueNetwork(core.observation_size, core.actions, self.hidden, self.seed)
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
        network = PolicyValueNetwork(body.shape[1], len(policy), self.hidden, self.seed)
        self._learner = Learner(network, self.learning_rate, self.replay_size)
        self._learner.import_state(state)
