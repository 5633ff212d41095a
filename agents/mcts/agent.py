"""Monte Carlo tree search on the functional core, and the network that learns to do without its labels.

Planning (3DAlign-DAER's Dynamic Attention Policy): UCT, or a rival of it, over calibrations, for a whole
batch of episodes at once, rewarded by what the labels say. Expert iteration (Anthony et al., 2017; Silver et
al., 2017): a network learns from the visits and returns of the search what to try, and guides later searches.

It also learns what an action earns when nobody looks at labels (see `agents.mcts.targets`), and acts
without them only where that is a gain.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from agents.base import Agent, DecisionProcess, PlanResult, Rollout, check_sizes, roll, split_budget, uniform
from agents.mcts.network import PolicyValueNetwork, Trainer
from agents.mcts.problem import PlanningProblem
from agents.mcts.targets import (
    SearchTarget,
    bootstrap_copies,
    collect_unlabelled_rollouts,
    root_expansion_returns,
    visits_by_return,
    without_stop,
)
from agents.registry import register
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
from agents.settings import at_least, one_of, positive, shares

SearchPolicy = Literal["uct", "puct", "gumbel"]

Commit = Literal["best", "visits"]

ROUNDING = 1e-6
"""A line that loses no more than this loses nothing: it is followed, as it may yet lead to a gain."""


@register("mcts")
class MctsAgent(Agent):
    """Plans by tree search, learns by expert iteration, acts by its network where there are no labels.

    Args:
        budget: Evaluations an episode may cost, over all its moves.
        policy: How the search walks: `uct`, the paper's; `puct`, by the network's policy as in MuZero (greedy
            at small budgets unless `exploration` is raised); `gumbel`, by sequential halving at the root.
        exploration: `c` of UCT, or `pb_c_init` of PUCT, for returns scaled to [0, 1].
        dirichlet_fraction: Share of the policy at the root that PUCT replaces by Dirichlet noise.
        dirichlet_alpha: Concentration of that noise.
        max_num_considered_actions: Actions at the root among which Gumbel's halving begins.
        gumbel_scale: Weight of Gumbel's noise at the root; 0 for none.
        discount: Weight of later rewards within the search.
        num_searches: Moves that are searched before, which share the budget; the moves after them follow
            the best line found. None searches before each.
        max_children: Actions that a node considers, None for all: the smaller, the deeper a search looks.
        final_move: Move by the `best` return found (the problem is deterministic, so it can be had), or by
            most `visits`, ties broken by the mean return (by `gumbel`: the best of those visited most, for
            which the improved policy of the search is what the network learns).
        mast_weight: Weight of what an action has earned elsewhere in the tree (move-average sampling
            technique), when untried actions are ordered.
        guide: Whether the network proposes actions to the search.
        hidden: Width of the network.
        learning_rate: Of Adam.
        replay: Decisions that are remembered.
        batch_size: Decisions in a gradient step.
        updates: Gradient steps for each batch of episodes that is learnt from.
        practice: Moves of the episode that is played without labels for each one that is learnt from, out of
            the same budget (at most half of it); None is the horizon.
        ensemble_size: Networks of the ensemble that predicts gains, each trained on a bootstrap sample of
            its own.
        lcb_coef: Without labels, an action counts for its predicted gain less so many standard deviations of
            the ensemble, and is made only if that is more than nothing: the best of many predictions is more
            often lucky than good.
        exploration_fraction: Share of the moves in practice that are drawn from the search's policy.
        seed: Of the network's initial weights.
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
        final_move: Commit = "best",
        mast_weight: float = 2.0,
        guide: bool = True,
        hidden: int = 128,
        learning_rate: float = 1e-3,
        replay: int = 8192,
        batch_size: int = 256,
        updates: int = 8,
        practice: int | None = None,
        exploration_fraction: float = 0.5,
        ensemble_size: int = 8,
        lcb_coef: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__(budget)
        one_of(get_args(SearchPolicy), policy=policy)
        one_of(get_args(Commit), final_move=final_move)
        at_least(
            1,
            num_searches=num_searches,
            max_children=max_children,
            max_num_considered_actions=max_num_considered_actions,
            hidden=hidden,
            ensemble_size=ensemble_size,
        )
        at_least(1, replay=replay, batch_size=batch_size)
        at_least(
            0, exploration=exploration, gumbel_scale=gumbel_scale, mast_weight=mast_weight, lcb_coef=lcb_coef
        )
        at_least(0, updates=updates, practice=practice)
        positive(dirichlet_alpha=dirichlet_alpha, learning_rate=learning_rate)
        shares(
            dirichlet_fraction=dirichlet_fraction,
            discount=discount,
            exploration_fraction=exploration_fraction,
        )
        self.policy, self.max_num_considered_actions, self.gumbel_scale = (
            policy,
            max_num_considered_actions,
            gumbel_scale,
        )
        self.dirichlet_fraction, self.dirichlet_alpha = dirichlet_fraction, dirichlet_alpha
        self.exploration, self.discount, self.final_move = exploration, discount, final_move
        self.num_searches, self.max_children, self.mast_weight, self.guide = (
            num_searches,
            max_children,
            mast_weight,
            guide,
        )
        self.hidden, self.learning_rate, self.seed = hidden, learning_rate, seed
        self.replay_size, self.batch_size, self.updates = replay, batch_size, updates
        self.practice, self.exploration_fraction = practice, exploration_fraction
        self.ensemble_size, self.lcb_coef = ensemble_size, lcb_coef
        self._learner: Trainer | None = None

    @override
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        return self._plan(core, episode, generator, self.budget)[0]

    def tree(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, simulations: int | None = None
    ) -> Tree:
        """One search from the start, with labels: to be drawn or exported.

        Args:
            core: The decision process.
            episode: Where it begins.
            generator: Randomness.
            simulations: How many; the whole budget when left out.
        """
        count = self.budget if simulations is None else simulations
        game = Rollout(core, episode)
        problem, tree, chance = self._begin(core, episode, game, generator, count)
        search(tree, problem, count, self._policy(tree, chance[:, 0], count), self.discount)
        return tree

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
            prediction = learner.network(observation)
        sure = (prediction.gains - self.lcb_coef * prediction.doubt).masked_fill(~mask, -torch.inf)
        gain, action = without_stop(core, sure).max(-1)
        return torch.where(gain > 0, action, -1 if core.stop is None else core.stop)

    @override
    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        moves = min(core.horizon if self.practice is None else self.practice, self.budget // 2)
        result, lessons = self._plan(core, episode, generator, self.budget - moves)
        device = result.return_.device
        learner = self._bind(core, device)
        for learnt, rows in lessons:
            copies = bootstrap_copies(len(learnt), self.ensemble_size, generator).to(device)
            learner.replay.add(learnt, **rows, copies=copies)

        def act(observation: Tensor, mask: Tensor) -> Tensor:
            return self.act(core, observation, mask)

        result.evaluations = result.evaluations + collect_unlabelled_rollouts(
            core,
            episode,
            learner,
            act,
            generator,
            moves,
            explore=self.exploration_fraction,
            discount=self.discount,
            caution=self.lcb_coef,
        )
        result.statistics |= learner.update(self.updates, self.batch_size, generator)
        return result

    def _plan(
        self, core: DecisionProcess, episode: Any, generator: torch.Generator, budget: int
    ) -> tuple[PlanResult, list[SearchTarget]]:
        game = Rollout(core, episode)
        problem, tree, chance = self._begin(core, episode, game, generator, budget)
        searches = self._searches(core)
        shares = split_budget(budget, searches) + [0] * (core.horizon - searches)
        rows = torch.arange(len(game.alive), device=game.alive.device)
        spent, edges = torch.zeros_like(rows), torch.zeros_like(rows)
        lessons: list[SearchTarget] = []
        first: Summary | None = None
        for move, share in enumerate(shares):
            alive = game.alive
            if not bool(alive.any()):
                break
            if share > 0 and lessons:
                problem.reconsider(tree)
            policy = self._policy(tree, chance[:, min(move, searches - 1)], share)
            effort = search(tree, problem, share, policy, self.discount)
            summary = summarize(tree, policy)
            first = first or summary
            spent, edges = spent + effort.steps, edges + effort.edges
            action, moves = self._decide(summary, alive)
            observation, mask = core.observation(episode, game.state), core.mask(episode, game.state)

            target = self._target(summary, tree, policy)
            mark_terminal(tree, ~moves)
            reroot(tree, action)
            following = tree.state[rows, tree.root]
            learnt = alive
            if core.stop is None:
                action, learnt = torch.where(moves, action, -1), moves
            else:
                stops = alive & ~moves
                stop = torch.full_like(action, core.stop)
                action = torch.where(stops, stop, action)
                following = core.transition(episode, following, stop, stops)
                target = torch.where(stops.unsqueeze(-1), one_hot(stop, core.actions).to(target), target)
            game.move(action, following)
            lesson = {"observation": observation, "mask": mask, "policy": target}
            if not lessons:
                network = self._bind(core, rows.device).network
                lesson |= root_expansion_returns(
                    core, episode, tree, network, discount=self.discount, caution=self.lcb_coef
                )
            lessons.append(SearchTarget(learnt, lesson))
        statistics = {"search/depth": float(edges.sum() / spent.sum().clamp_min(1))}
        if first is not None:
            statistics["search/visit_entropy"] = float(first.entropy.mean())
            statistics["search/root_value"] = float(first.value.mean())
        return game.result(spent, statistics), lessons

    def _begin(
        self, core: DecisionProcess, episode: Any, game: Rollout, generator: torch.Generator, budget: int
    ) -> tuple[PlanningProblem, Tree, Tensor]:
        """The problem, its tree with the roots alone, and the roots' noise for each search."""
        device, batch, searches = game.alive.device, len(game.alive), self._searches(core)
        guide = self._bind(core, device).network if self.guide else None
        uniforms = uniform((batch, budget + 1 + searches, core.actions), generator, device)
        chance = self._chance((batch, searches, core.actions), generator, device)
        problem = PlanningProblem(
            core,
            episode,
            guide,
            self.max_children,
            self.mast_weight,
            gumbel_noise(uniforms),
            self.policy != "uct",
        )
        return problem, init_tree(problem.root(game.state), budget + 1), chance

    def _searches(self, core: DecisionProcess) -> int:
        return min(self.num_searches or core.horizon, core.horizon)

    def _chance(self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
        """Uniform numbers for the roots' noise, `[B, searches, A]`; none are drawn where there is none."""
        if self.policy == "gumbel" or (self.policy == "puct" and self.dirichlet_fraction > 0):
            return uniform(shape, generator, device)
        return torch.zeros(shape, device=device)

    def _policy(self, tree: Tree, chance: Tensor, simulations: int) -> Policy:
        """The policy of one search; PUCT's noise, made of `chance` `[B, A]`, goes into the roots' prior."""
        if self.policy == "uct":
            return uct(self.exploration)
        if self.policy == "gumbel":
            return gumbel(
                self.gumbel_scale * gumbel_noise(chance), simulations, self.max_num_considered_actions
            )
        if self.dirichlet_fraction > 0 and simulations > 0:
            at = (torch.arange(len(chance), device=chance.device), tree.root)
            prior = tree.prior[at]
            noise = dirichlet_noise(chance, prior > -torch.inf, self.dirichlet_alpha)
            tree.prior[at] = mix(prior, noise, self.dirichlet_fraction)
        return puct(self.exploration)

    def _decide(self, summary: Summary, alive: Tensor) -> tuple[Tensor, Tensor]:
        """The action to make, i64 `[B]`, and the rows in which one is worth making, bool `[B]`."""
        if self.final_move == "best":
            gain, action = summary.best.max(-1)
        else:
            action = summary.action
            gain = summary.values.gather(1, action.unsqueeze(1)).squeeze(1)
        return action, alive & (gain > -ROUNDING) & (summary.visits.sum(-1) > 0)

    def _target(self, summary: Summary, tree: Tree, policy: Policy) -> Tensor:
        """What the network should do at the roots, `[B, A]`; rows that stop are seen to by the caller.

        The visits; where moves are made by the best return, they are weighted by it.
        """
        by_visits = self.final_move == "visits"
        weight = policy.target(root_edges(tree)) if by_visits else visits_by_return(summary, tree)
        return weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)

    def _bind(self, core: DecisionProcess, device: torch.device) -> Trainer:
        if self._learner is None:
            self._learner = self._new(core.observation_size, core.actions)
        network = self._learner.network
        check_sizes(self.name, (network.observation_size, network.actions), core)
        self._learner.to(device)
        return self._learner

    def _new(self, observation_size: int, actions: int) -> Trainer:
        network = PolicyValueNetwork(observation_size, actions, self.hidden, self.ensemble_size, self.seed)
        return Trainer(network, self.learning_rate, self.replay_size)

    @override
    def export_state(self) -> dict[str, Tensor]:
        return {} if self._learner is None else self._learner.export_state()

    @override
    def import_state(self, state: dict[str, Tensor]) -> None:
        self._learner = None
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
        learner = self._new(body.shape[1], len(policy))
        try:
            learner.import_state(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"mcts: the state does not fit ({str(error).splitlines()[0]}); it is not whole"
            ) from error
        self._learner = learner
