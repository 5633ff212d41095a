"""NaN and infinities of a problem: refused by row and action, and only where they would be used."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from agents import Rollout, make_agent
from agents.search import Backend, Policy, Root, Step, Tree, gumbel, init_tree, puct, search, summarize, uct
from tests.agents.toys import bandit

B, A, SIMULATIONS = 4, 3, 12
BACKENDS: tuple[Backend, ...] = ("numba", "torch")
ODD = (math.nan, math.inf, -math.inf)


class Game:
    """A game without an end, in which row 2 gets odd numbers from its second action on.

    Args:
        odd: Fields of its steps, `[B]` or `[B, A]`, with which those of rows with action 1 are replaced.
    """

    def __init__(self, **odd: Tensor) -> None:
        self.odd = odd

    def step(self, state: Tensor, action: Tensor, needed: Tensor) -> Step:
        values = (0.1 * action).double()
        prior = torch.zeros(B, A, dtype=torch.float64)
        none, all_ = torch.zeros(B, dtype=torch.bool), torch.ones(B, A, dtype=torch.bool)
        step = Step(state + 1, values, none, all_, values, prior)
        fields = {}
        for name, odd in self.odd.items():
            chosen = action == 1 if odd.dim() == 1 else (action == 1).unsqueeze(1)
            fields[name] = torch.where(chosen, odd, getattr(step, name))
        return step._replace(**fields)


def policy_of(name: str) -> Policy:
    if name == "gumbel":
        return gumbel(torch.zeros(B, A), SIMULATIONS, 4)
    return uct(1.4) if name == "uct" else puct()


def grow(game: Game, policy: str, backend: Backend, **root: Tensor) -> Tree:
    start = Root(torch.zeros(B, 1, dtype=torch.int64), torch.ones(B, A, dtype=torch.bool), **root)
    tree = init_tree(start, SIMULATIONS + 1, dtype=torch.float64)
    search(tree, game, SIMULATIONS, policy_of(policy), 0.9, backend=backend)
    return tree


def at(value: float, *place: int) -> Tensor:
    """Zeros `[B]` or `[B, A]` with a value at a place."""
    found = torch.zeros((B, A)[: len(place)], dtype=torch.float64)
    found[place] = value
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("policy", ["uct", "puct", "gumbel"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_number_is_refused_by_row_and_action(policy: str, backend: Backend, odd: float) -> None:
    told = f"is {odd}, expected a finite number"
    for game, message in (
        (Game(reward=at(odd, 2)), f"row 2: the reward of action 1 {told}"),
        (Game(value=at(odd, 2)), f"row 2: the value after action 1 {told}"),
    ):
        with pytest.raises(ValueError, match=message):
            grow(game, policy, backend)
    with pytest.raises(ValueError, match=f"row 3: the root's value {told}"):
        grow(Game(), policy, backend, value=at(odd, 3))
    if odd == -math.inf:  # which rules an action out
        assert (summarize(grow(Game(), policy, backend, prior=at(odd, 3, 2))).visits[3, 2]) == 0
        return
    with pytest.raises(ValueError, match=f"row 2: the prior of action 0 after action 1 {told}"):
        grow(Game(prior=at(odd, 2, 0)), policy, backend)
    with pytest.raises(ValueError, match=f"row 3: the root's prior of action 2 {told}"):
        grow(Game(), policy, backend, prior=at(odd, 3, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_priors_that_rule_out_every_legal_action_are_refused(backend: Backend) -> None:
    nothing = torch.zeros(B, A, dtype=torch.float64)
    nothing[1] = -math.inf
    with pytest.raises(ValueError, match="row 1: the prior of every legal action after action 1 is -inf"):
        grow(Game(prior=nothing), "puct", backend)
    with pytest.raises(ValueError, match="row 1: the root's prior of every legal action is -inf"):
        grow(Game(), "puct", backend, prior=nothing)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_used_may_be_anything(backend: Backend, odd: float) -> None:
    one = torch.ones(B, dtype=torch.bool)
    ended = Game(value=at(odd, 2), prior=at(odd, 2, 0), terminal=one)
    mask = torch.ones(B, A, dtype=torch.bool)
    mask[2, 0] = False
    illegal = Game(prior=at(odd, 2, 0), mask=mask)
    for game in (ended, illegal):
        assert grow(game, "puct", backend).q_values.isfinite().all()
    over = replace(grow(Game(), "uct", backend), terminal=torch.ones(B, SIMULATIONS + 1, dtype=torch.bool))
    over.prior[:] = odd
    search(over, Game(), 0, uct(1.0), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_numbers_are_no_odd_ones(backend: Backend) -> None:
    large = torch.full((B,), 1e308, dtype=torch.float64)
    assert (
        grow(
            Game(value=large, prior=torch.full((B, A), 1e308, dtype=torch.float64)), "uct", backend
        ).used.min()
        > 1
    )


@pytest.mark.parametrize("odd", ODD)
def test_parameters_of_policies_are_finite(odd: float) -> None:
    for make, told in (
        (lambda: uct(odd), "exploration="),
        (lambda: puct(odd), "pb_c_init="),
        (lambda: gumbel(torch.zeros(B, A), 4, value_scale=odd), "value_scale="),
        (lambda: gumbel(at(odd, 1, 2), 4), "row 1: the noise of action 2 is"),
    ):
        with pytest.raises(ValueError, match=told):
            make()


@pytest.mark.parametrize("name", ["greedy", "random_search", "mcts"])
@pytest.mark.parametrize("odd", ODD)
def test_agents_refuse_odd_rewards(name: str, odd: float) -> None:
    core = bandit([0.1, odd])
    agent = make_agent(name, budget=8)
    with pytest.raises(
        ValueError, match=rf"row \d: the reward of action 2 is {odd}, expected a finite number"
    ):
        agent.learn(core, torch.zeros(3, dtype=torch.int64), torch.Generator().manual_seed(0))


def test_a_rollout_refuses_odd_rewards_of_rows_that_move() -> None:
    rollout = Rollout(bandit([0.1, math.nan]), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="row 1: the reward of action 2 is nan"):
        rollout.move(torch.tensor([1, 2, 1]))
