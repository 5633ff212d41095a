"""Monte Carlo tree search agent: it plans with labels, and acts by a tree that all queries share without.

Planning (3DAlign-DAER's Dynamic Attention Policy): UCT, PUCT or Gumbel search over calibrations, for a whole
batch of episodes at once, rewarded by what the labels say. Expert iteration (Anthony et al., 2017; Silver et
al., 2017): a network learns from the visits and returns of the search what to try, and guides later searches.

To imitate such a search is not enough at query time. It knows the labels, so its choice is the luckiest of
many tries, and imitating it without them does harm on average. So the agent also grows a tree that all
queries share, whose values depend on what is observed of a query and on nothing else (see
``agents.mcts.shared_tree``), and makes the calibration that is expected to earn most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, check_sizes
from agents.mcts.network import PolicyNetwork, Trainer
from agents.mcts.problem import PlanningProblem
from agents.mcts.shared_tree import SharedTree
from agents.mcts.targets import SearchTarget, visits_by_return
from agents.registry import register
from agents.rollout import Rollout, make_actions, split_budget
from agents.search import (
    Policy,
    Summary,
    Tree,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mark_terminal,
    mix,
    puct,
    reroot,
    root_edges,
    search,
    summarize,
    uct,
)
from agents.seeding import uniform
from agents.settings import at_least, one_of, positive, shares
from agents.state_tensors import flat

SearchPolicy = Literal["uct", "puct", "gumbel"]

FinalMove = Literal["best", "visits"]

ROUNDING = 1e-6
"""Loss that counts as none: a line that loses no more is followed, as it may yet lead to a gain."""


@register("mcts")
class MctsAgent(Agent):
    """Plans by tree search, learns by expert iteration, acts by the shared tree where there are no labels.

    Args:
        budget: Largest number of evaluations per episode, over all its moves.
        policy: Rule by which the search selects actions: ``uct``, the paper's; ``puct``, by the network's
            policy as in MuZero (greedy at small budgets unless ``exploration`` is raised); ``gumbel``, by
            sequential halving at the root.
        exploration: ``c`` of UCT, or ``pb_c_init`` of PUCT, for returns scaled to [0, 1].
        dirichlet_fraction: Share of the prior at the root that PUCT replaces by Dirichlet noise.
        dirichlet_alpha: Concentration of the Dirichlet noise.
        max_num_considered_actions: Number of actions at the root among which Gumbel's halving begins.
        gumbel_scale: Weight of Gumbel's noise at the root; 0 for none.
        discount: Discount factor of later rewards within the search.
        num_searches: Number of moves that are preceded by a search, among which the budget is split; the
            moves after them follow the best line found. None searches before every move.
        max_children: Number of actions that a node considers, None for all: the smaller, the deeper a search
            looks.
        final_move: Criterion of the move that is made: the ``best`` return found (the problem is
            deterministic, so it can be had), or most ``visits``, ties broken by the mean return (by
            ``gumbel``: the best of those visited most, for which the improved policy of the search is what
            the network learns).
        mast_weight: Weight of what an action has earned elsewhere in the tree (move-average sampling
            technique), when untried actions are ordered.
        guide: Whether the network proposes actions to the search.
        hidden: Width of the network.
        learning_rate: Learning rate of the Adam optimizer.
        replay: Capacity of the replay buffer, in decisions.
        batch_size: Number of decisions per gradient step.
        updates: Number of gradient steps for each batch of episodes that is learned from.
        explore: Number of evaluations per episode, out of the same budget, that grow the tree that all
            queries share; None is half of the budget, and with 0 the agent rests without labels. When it
            learns, the search has a quarter of the budget, or what is left of it.
        episodes: Number of episodes that this tree is grown from, the last ones.
        lcb_coef: Number of standard errors that are subtracted from how far a calibration is expected to be
            ahead of the best fixed one, in whose place it is made if the rest is positive: the best of many
            predictions is more often lucky than good.
        seed: Seed of the network's initial weights.

    Attributes:
        watcher: Called with the tree of every plan before it grows, which it then does in place; None for no
            one.
    """

    acts_without_labels = True

    def __init__(
        self,
        budget: int = 32,
        *,
        policy: SearchPolicy = "uct",
        exploration: float = 1.0,
        dirichlet_fraction: float = 0.0,
        dirichlet_alpha: float = 0.3,
        max_num_considered_actions: int = 16,
        gumbel_scale: float = 1.0,
        discount: float = 1.0,
        num_searches: int | None = None,
        max_children: int | None = None,
        final_move: FinalMove = "best",
        mast_weight: float = 2.0,
        guide: bool = True,
        hidden: int = 128,
        learning_rate: float = 1e-3,
        replay: int = 8192,
        batch_size: int = 256,
        updates: int = 8,
        explore: int | None = None,
        episodes: int = 8192,
        lcb_coef: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(budget)
        one_of(get_args(SearchPolicy), policy=policy)
        one_of(get_args(FinalMove), final_move=final_move)
        at_least(1, max_num_considered_actions=max_num_considered_actions, max_children=max_children)
        at_least(1, num_searches=num_searches, hidden=hidden)
        at_least(1, replay=replay, batch_size=batch_size, episodes=episodes)
        at_least(0, exploration=exploration, gumbel_scale=gumbel_scale, mast_weight=mast_weight)
        at_least(0, updates=updates, explore=explore, lcb_coef=lcb_coef)
        positive(dirichlet_alpha=dirichlet_alpha, learning_rate=learning_rate)
        shares(dirichlet_fraction=dirichlet_fraction, discount=discount)
        self.policy, self.exploration, self.gumbel_scale = policy, exploration, gumbel_scale
        self.max_num_considered_actions = max_num_considered_actions
        self.dirichlet_fraction, self.dirichlet_alpha = dirichlet_fraction, dirichlet_alpha
        self.discount, self.num_searches, self.final_move = discount, num_searches, final_move
        self.max_children, self.mast_weight, self.guide = max_children, mast_weight, guide
        self.hidden, self.learning_rate, self.seed = hidden, learning_rate, seed
        self.replay_size, self.batch_size, self.updates = replay, batch_size, updates
        self.explore, self.episodes, self.lcb_coef = explore, episodes, lcb_coef
        self.watcher: Callable[[Tree], None] | None = None
        self._trainer: Trainer | None = None
        self._shared: SharedTree | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self._plan(core, episode, generator, self.budget)[0]

    def tree(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, simulations: int | None = None
    ) -> Tree:
        """One search from the start, with labels: to be drawn or exported.

        Args:
            core: The decision process.
            episode: ``B`` rows, in whose first state the search begins.
            generator: Source of all random draws.
            simulations: Number of simulations; None is the whole budget.
        """
        count = self.budget if simulations is None else simulations
        problem, tree, draws = self._begin(core, episode, core.initial(episode), generator, count)
        search(tree, problem, count, self._policy(tree, draws[:, 0], count), self.discount)
        return tree

    @override
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        rollout, shared = Rollout(core, episode), self._shared_tree(core)
        make_actions(rollout, shared.sequences(rollout.observation())[:, : self.budget])
        if core.stop is not None and bool(rollout.alive.any()):
            rollout.move(torch.full_like(rollout.evaluations, core.stop))
        return rollout.result()

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        exploring = min(self.budget // 2 if self.explore is None else self.explore, self.budget)
        searching = min(max(self.budget // 4, 1), self.budget - exploring)
        result, targets = self._plan(core, episode, generator, searching)
        trainer, shared = self._bind(core, result.return_.device), self._shared_tree(core)
        for learned, rows in targets:
            trainer.remember(learned, **rows)
        result.statistics |= trainer.update(self.updates, self.batch_size, generator)
        if exploring > 0:
            rollout = Rollout(core, episode)
            shared.grow(rollout, exploring, generator)
            result.evaluations = result.evaluations + rollout.evaluations
            result.statistics["search/shared_calibrations"] = float(len(shared.values.fitted) - 1)
        return result

    def _shared_tree(self, core: DecisionProcess) -> SharedTree:
        """The tree that all queries share, which is made when it is first needed."""
        if self._shared is None:
            self._shared = SharedTree(core.actions, core.horizon, core.stop, self.episodes, self.lcb_coef)
        seen = self._shared.values.observations.shape[1] or core.observation_size
        check_sizes(self.name, (seen, self._shared.actions), core)
        return self._shared

    def _plan(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, budget: int
    ) -> tuple[PlanResult, list[SearchTarget]]:
        rollout = Rollout(core, episode)
        problem, tree, draws = self._begin(core, episode, rollout.state, generator, budget)
        searches = self._searches(core)
        shares = split_budget(budget, searches) + [0] * (core.horizon - searches)
        rows = torch.arange(rollout.count, device=rollout.device)
        edges = torch.zeros_like(rows)
        targets: list[SearchTarget] = []
        first: Summary | None = None
        for move, share in enumerate(shares):
            alive = rollout.alive
            if not bool(alive.any()):
                break
            if share > 0 and targets:
                problem.reconsider(tree)
            policy = self._policy(tree, draws[:, min(move, searches - 1)], share)
            cost = search(tree, problem, share, policy, self.discount)
            summary = summarize(tree, policy)
            first = first or summary
            rollout.evaluations += cost.steps
            edges = edges + cost.edges
            action, moves = self._decide(summary, alive)
            observation, mask = rollout.observation(), rollout.mask()

            weights = self._target(summary, tree, policy)
            mark_terminal(tree, ~moves)
            reroot(tree, action)
            next_state = tree.state[rows, tree.root]
            learned = alive
            if core.stop is None:
                action, learned = torch.where(moves, action, -1), moves
            else:
                stops = alive & ~moves
                stop = torch.full_like(action, core.stop)
                action = torch.where(stops, stop, action)
                next_state = core.transition(episode, next_state, stop, stops)
                weights = torch.where(stops.unsqueeze(-1), one_hot(stop, core.actions).to(weights), weights)
            rollout.move(action, next_state)
            target = {"observation": observation, "mask": mask, "policy": weights}
            targets.append(SearchTarget(learned, target))
        statistics = {"search/depth": float(edges.sum() / rollout.evaluations.sum().clamp_min(1))}
        if first is not None:
            statistics["search/visit_entropy"] = float(first.entropy.mean())
            statistics["search/root_value"] = float(first.value.mean())
        return rollout.result(statistics), targets

    def _begin(
        self, core: DecisionProcess, episode: Any, state: Any, generator: torch.Generator, budget: int
    ) -> tuple[PlanningProblem, Tree, Tensor]:
        """The problem, its tree with the roots alone, and uniform draws for the noise at the roots."""
        done, searches = core.done(state), self._searches(core)
        device, batch = done.device, len(done)
        guide = self._bind(core, device).network if self.guide else None
        noise = gumbel_noise(uniform((batch, budget + 1 + searches, core.actions), generator, device))
        draws = self._draw_root_noise((batch, searches, core.actions), generator, device)
        problem = PlanningProblem(
            core,
            episode,
            guide,
            max_children=self.max_children,
            mast_weight=self.mast_weight,
            noise=noise,
            prior_is_logits=self.policy != "uct",
        )
        tree = init_tree(problem.root(state), budget + 1)
        if self.watcher is not None:
            self.watcher(tree)
        return problem, tree, draws

    def _searches(self, core: DecisionProcess) -> int:
        return min(self.num_searches or core.horizon, core.horizon)

    def _draw_root_noise(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device
    ) -> Tensor:
        """Uniform numbers for the noise at the roots, ``[B, searches, A]``; zeros where a policy has none."""
        if self.policy == "gumbel" or (self.policy == "puct" and self.dirichlet_fraction > 0):
            return uniform(shape, generator, device)
        return torch.zeros(shape, device=device)

    def _policy(self, tree: Tree, draws: Tensor, simulations: int) -> Policy:
        """Policy of one search; PUCT's noise, made of ``draws`` ``[B, A]``, goes into the roots' prior."""
        if self.policy == "uct":
            return uct(self.exploration)
        if self.policy == "gumbel":
            noise = self.gumbel_scale * gumbel_noise(draws)
            return gumbel(noise, simulations, self.max_num_considered_actions)
        if self.dirichlet_fraction > 0 and simulations > 0:
            at = (torch.arange(len(draws), device=draws.device), tree.root)
            prior = tree.prior[at]
            noise = dirichlet_noise(draws, prior > -torch.inf, self.dirichlet_alpha)
            tree.prior[at] = mix(prior, noise, self.dirichlet_fraction)
        return puct(self.exploration)

    def _decide(self, summary: Summary, alive: Tensor) -> tuple[Tensor, Tensor]:
        """The actions to make, i64 ``[B]``, and the rows in which they are worth making, bool ``[B]``."""
        if self.final_move == "best":
            gain, action = summary.best.max(-1)
        else:
            action = summary.action
            gain = summary.values.gather(1, action.unsqueeze(1)).squeeze(1)
        return action, alive & (gain > -ROUNDING) & (summary.visits.sum(-1) > 0)

    def _target(self, summary: Summary, tree: Tree, policy: Policy) -> Tensor:
        """Policy that the network should have at the roots, ``[B, A]``; the caller corrects rows that stop.

        It is the share of the visits, weighted by the best return if moves are made by that.
        """
        by_visits = self.final_move == "visits"
        weight = policy.target(root_edges(tree)) if by_visits else visits_by_return(summary, tree)
        return weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)

    def _bind(self, core: DecisionProcess, device: torch.device) -> Trainer:
        if self._trainer is None:
            self._trainer = self._new(core.observation_size, core.actions)
        network = self._trainer.network
        check_sizes(self.name, (network.observation_size, network.actions), core)
        self._trainer.to(device)
        return self._trainer

    def _new(self, observation_size: int, actions: int) -> Trainer:
        network = PolicyNetwork(observation_size, actions, self.hidden, self.seed)
        return Trainer(network, self.learning_rate, self.replay_size)

    @override
    def export_state(self) -> dict[str, Tensor]:
        network = {} if self._trainer is None else self._trainer.export_state()
        shared = {} if self._shared is None else flat(shared=self._shared.tensors())
        return network | shared

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._trainer = self._shared = None
        shared = {name.removeprefix("shared/"): state[name] for name in state if name.startswith("shared/")}
        state = {name: state[name] for name in state if not name.startswith("shared/")}
        if shared:
            try:
                shared = {name: tensor.cpu().clone() for name, tensor in shared.items()}
                self._shared = SharedTree.restored(shared, self.episodes, self.lcb_coef)
            except (KeyError, ValueError) as error:
                raise ValueError(f"mcts: the state does not fit ({error}); it is not whole") from error
        if not state:
            return
        try:
            body, policy = state["network/body.0.weight"], state["network/policy.weight"]
            theirs = (len(body), int(state["learner/replay"]))
        except KeyError as error:
            raise ValueError(f"mcts: the state has no {error.args[0]}; it is of another agent") from error
        ours = (self.hidden, self.replay_size)
        if theirs != ours:
            raise ValueError(
                f"mcts: the state is of agent.hidden, agent.replay = {theirs}, but here they are {ours}; use "
                "equal settings"
            )
        trainer = self._new(body.shape[1], len(policy))
        try:
            trainer.import_state(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"mcts: the state does not fit ({str(error).splitlines()[0]}); it is damaged, or of another "
                "version: train the agent anew"
            ) from error
        self._trainer = trainer
