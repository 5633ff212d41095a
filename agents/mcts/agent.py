"""Monte Carlo tree search agent, and the network that learns to act without the labels that it plans with.

Planning (3DAlign-DAER's Dynamic Attention Policy): UCT, PUCT or Gumbel search over calibrations, for a whole
batch of episodes at once, rewarded by what the labels say. Expert iteration (Anthony et al., 2017; Silver et
al., 2017): a network learns from the visits and returns of the search what to try, and guides later searches.

The network also learns what an action earns if labels are not looked at (see ``agents.mcts.targets``).
Without them, the agent makes the best fixed calibration (``agents.baselines.climb``), and departs from it
only where the network is sure to gain more: what is the same for all queries takes far fewer evaluations to
find than what depends on them, and a policy that has to learn both from observations stays behind.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, check_sizes
from agents.baselines.climb import Climb
from agents.baselines.constant_calibration import restore_search, search_tensors
from agents.mcts.default_policy import DefaultPolicy
from agents.mcts.network import PolicyValueNetwork, Trainer
from agents.mcts.problem import PlanningProblem
from agents.mcts.targets import (
    SearchTarget,
    collect_unlabeled_rollouts,
    root_expansion_returns,
    visits_by_return,
    without_stop,
)
from agents.registry import register
from agents.rollout import Rollout, roll, split_budget
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

CLIMB_COEF = 1.0
"""Number of standard errors by which a fixed calibration must lead another one to take over, as in fixed."""

ROUNDING = 1e-6
"""Loss that counts as none: a line that loses no more is followed, as it may yet lead to a gain."""


@register("mcts")
class MctsAgent(Agent):
    """Plans by tree search, learns by expert iteration, acts by its network where there are no labels.

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
        practice: Number of moves of the unlabeled rollout that goes with each episode that is learned from,
            out of the same budget (at most half of it); None is the horizon.
        climb: Number of evaluations per episode, out of the same budget, that go to the search for the best
            fixed calibration, which the agent makes where it is not sure of anything better; None is a
            quarter of the budget, and 0 leaves the attention as it is there.
        ensemble_size: Number of networks in the ensemble that predicts gains, each trained on a bootstrap
            sample of its own.
        lcb_coef: Number of standard deviations of the ensemble that are subtracted from a predicted gain.
            Without labels an action is made in place of the fixed calibration's only if the rest of what it
            gains more is positive: the best of many predictions is more often lucky than good.
        exploration_fraction: Share of the moves in unlabeled rollouts that are drawn from the search's
            policy.
        seed: Seed of the network's initial weights.
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
        practice: int | None = None,
        climb: int | None = None,
        exploration_fraction: float = 0.5,
        ensemble_size: int = 8,
        lcb_coef: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__(budget)
        one_of(get_args(SearchPolicy), policy=policy)
        one_of(get_args(FinalMove), final_move=final_move)
        at_least(1, max_num_considered_actions=max_num_considered_actions, max_children=max_children)
        at_least(1, num_searches=num_searches, hidden=hidden, ensemble_size=ensemble_size)
        at_least(1, replay=replay, batch_size=batch_size)
        at_least(0, exploration=exploration, gumbel_scale=gumbel_scale, mast_weight=mast_weight)
        at_least(0, lcb_coef=lcb_coef, updates=updates, practice=practice, climb=climb)
        positive(dirichlet_alpha=dirichlet_alpha, learning_rate=learning_rate)
        shares(dirichlet_fraction=dirichlet_fraction, discount=discount)
        shares(exploration_fraction=exploration_fraction)
        self.policy, self.exploration, self.gumbel_scale = policy, exploration, gumbel_scale
        self.max_num_considered_actions = max_num_considered_actions
        self.dirichlet_fraction, self.dirichlet_alpha = dirichlet_fraction, dirichlet_alpha
        self.discount, self.num_searches, self.final_move = discount, num_searches, final_move
        self.max_children, self.mast_weight, self.guide = max_children, mast_weight, guide
        self.hidden, self.learning_rate, self.seed = hidden, learning_rate, seed
        self.replay_size, self.batch_size, self.updates = replay, batch_size, updates
        self.climb = climb
        self.practice, self.exploration_fraction = practice, exploration_fraction
        self.ensemble_size, self.lcb_coef = ensemble_size, lcb_coef
        self._trainer: Trainer | None = None
        self._climb: Climb | None = None

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
        default = self._default(core, len(episode), core.done(core.initial(episode)).device)

        def choose(observation: Tensor, mask: Tensor) -> Tensor:
            action = self.act(core, observation, mask, default.next(mask))
            default.made(action)
            return action

        return roll(core, episode, choose, self.budget)

    def act(
        self, core: DecisionProcess, observation: Tensor, mask: Tensor, default: Tensor | None = None
    ) -> Tensor:
        """Choose the action that most surely gains more than the default, or the default if none does.

        Args:
            core: The decision process.
            observation: Observations ``[B, O]``.
            mask: Legal actions, bool ``[B, A]``.
            default: Action to make where none is sure to gain more, i64 ``[B]``; -1 or None to end the
                episode.

        Returns:
            Actions, i64 ``[B]``; to end the episode is ``stop``, or -1 if the core has no ``stop``.
        """
        trainer = self._bind(core, observation.device)
        default = torch.full_like(mask[:, 0], -1, dtype=torch.int64) if default is None else default
        with torch.no_grad():
            mean, std = trainer.network.leads(observation, default)
        lower = mean - self.lcb_coef * std
        lower[:, :-1] = without_stop(core, lower[:, :-1].masked_fill(~mask, -torch.inf))
        gain, action = lower.max(-1)
        action = torch.where(gain > 0, action, default)
        ends = (action < 0) | (action == core.actions)
        return torch.where(ends, -1 if core.stop is None else core.stop, action)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        moves = min(core.horizon if self.practice is None else self.practice, self.budget // 2)
        climbing = min(self.budget // 4 if self.climb is None else self.climb, self.budget - moves)
        result, targets = self._plan(core, episode, generator, self.budget - moves - climbing)
        trainer = self._bind(core, result.return_.device)
        weights = trainer.bootstrap_weights(len(result.return_), generator)
        for learned, rows in targets:
            trainer.remember(learned, bootstrap_weights=weights, **rows)

        default = self._default(core, len(result.return_), result.return_.device)
        if climbing > 0:
            rollout = Rollout(core, episode)
            self._climb_of(core).learn(rollout, climbing, CLIMB_COEF, self.lcb_coef, generator)
            result.evaluations = result.evaluations + rollout.evaluations

        def act(observation: Tensor, mask: Tensor) -> Tensor:
            return self.act(core, observation, mask, default.next(mask))

        result.evaluations = result.evaluations + collect_unlabeled_rollouts(
            core,
            episode,
            trainer,
            act,
            default,
            weights,
            generator,
            moves,
            exploration_fraction=self.exploration_fraction,
            discount=self.discount,
            lcb_coef=self.lcb_coef,
        )
        result.statistics |= trainer.update(self.updates, self.batch_size, generator)
        return result

    def _climb_of(self, core: DecisionProcess) -> Climb:
        if self._climb is None:
            self._climb = Climb(core.actions, core.horizon, core.stop)
        return self._climb

    def _default(self, core: DecisionProcess, rows: int, device: torch.device) -> DefaultPolicy:
        """The best fixed calibration, if it is sure to gain anything; else nothing."""
        sequence, bound, _ = self._climb_of(core).surest(self.lcb_coef)
        return DefaultPolicy(sequence if bound > 0 else sequence[:0], core.actions, rows, device)

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
            if not targets:
                network = self._bind(core, rows.device).network
                target |= root_expansion_returns(
                    core, episode, tree, network, discount=self.discount, lcb_coef=self.lcb_coef
                )
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
        return problem, init_tree(problem.root(state), budget + 1), draws

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
        network = PolicyValueNetwork(observation_size, actions, self.hidden, self.ensemble_size, self.seed)
        return Trainer(network, self.learning_rate, self.replay_size)

    @override
    def export_state(self) -> dict[str, Tensor]:
        network = {} if self._trainer is None else self._trainer.export_state()
        climb = {} if self._climb is None else flat(climb=search_tensors(self._climb))
        return network | climb

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._trainer = self._climb = None
        climb = {name.removeprefix("climb/"): state[name] for name in state if name.startswith("climb/")}
        state = {name: state[name] for name in state if not name.startswith("climb/")}
        if climb:
            self._climb = restore_search(self.name, Climb, climb)
        if not state:
            return
        try:
            body, policy = state["network/body.0.weight"], state["network/policy.weight"]
            theirs = (len(body), len(state["network/returns.weights.0"]), int(state["learner/replay"]))
        except KeyError as error:
            raise ValueError(f"mcts: the state has no {error.args[0]}; it is of another agent") from error
        ours = (self.hidden, self.ensemble_size, self.replay_size)
        if theirs != ours:
            raise ValueError(
                f"mcts: the state is of agent.hidden, agent.ensemble_size, agent.replay = {theirs}, but here "
                f"they are {ours}; use equal settings"
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
