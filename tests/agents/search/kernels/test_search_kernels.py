"""The compiled walk and the tensor walk must grow the same trees, whatever the problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorClass

from agents.search import (
    Policy,
    Step,
    Tree,
    compiled_step,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mix,
    most_visited,
    puct,
    reroot,
    search,
    summarize,
    uct,
)
from agents.search.kernels import backend
from agents.search.kernels.backend import supports
from tests.agents.search.oracle import RandomGame
from tests.agents.search.policies.test_search_policies import in_tensors

POLICIES = ("uct", "puct", "gumbel")
EXACT = ("used", "root", "children", "visits", "parent", "parent_action", "level", "terminal", "prior")
CLOSE = ("q_values", "best", "rewards", "raw_value", "low", "high")


def policy_of(name: str, noise: torch.Tensor, simulations: int) -> Policy:
    if name == "gumbel":
        return gumbel(noise, simulations, 4)
    return uct(1.4) if name == "uct" else puct()


def assert_same(ours: Tree, theirs: Tree) -> None:
    for row in range(len(ours.root)):
        live = slice(0, int(ours.used[row]))
        for name in (*EXACT, *CLOSE):
            left, right = getattr(ours, name)[row], getattr(theirs, name)[row]
            if left.dim() > 0:
                left, right = left[live], right[live]
            tolerance = 0.0 if name in EXACT else 1e-12
            torch.testing.assert_close(
                left, right, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 4),
    actions=st.integers(1, 6),
    discount=st.sampled_from([1.0, 0.9, 0.0]),
    capacity=st.sampled_from([1, 6, 17, 100]),
    max_depth=st.sampled_from([None, 1, 2, 4]),
    order=st.booleans(),
)
def test_both_walks_grow_the_same_tree(name, seed, batch, actions, discount, capacity, max_depth, order):
    game = RandomGame.draw(batch, states=12, actions=actions, seed=seed, prior=name != "uct" or not order)
    uniforms = torch.rand(batch, actions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noise = gumbel_noise(uniforms)
    root = game.root()
    if name == "puct":
        root = root._replace(prior=mix(root.prior, dirichlet_noise(uniforms, root.mask, 0.3), 0.25))
    trees = []
    for is_compiled in (True, False):
        tree = init_tree(root, capacity, torch.Generator().manual_seed(seed), dtype=torch.float64)
        efforts = []
        for simulations in (15, 7):
            policy = policy_of(name, noise, simulations)
            policy = policy if is_compiled else in_tensors(policy)
            assert supports(tree, policy) is is_compiled
            efforts.append(search(tree, game, simulations, policy, discount, max_depth))
            summary = summarize(tree, policy)
            playable = tree.children[torch.arange(batch), tree.root, summary.action] >= 0
            if bool((playable | tree.terminal[torch.arange(batch), tree.root]).all()):
                reroot(tree, summary.action)
        trees.append((tree, efforts, summary.action))
    (ours, our_efforts, our_action), (theirs, their_efforts, their_action) = trees
    assert_same(ours, theirs)
    assert torch.equal(our_action, their_action)
    for left, right in zip(our_efforts, their_efforts, strict=True):
        assert torch.equal(left.steps, right.steps)
        assert torch.equal(left.edges, right.edges)


class Place(TensorClass):
    place: torch.Tensor


class StructuredGame(RandomGame):
    """The same game with a tensor class for a state."""

    def root(self):
        root = super().root()
        return root._replace(state=Place(place=root.state, batch_size=root.state.shape[:1]))

    def step(self, state, action, needed):
        step = super().step(state.place, action, needed)
        return step._replace(state=Place(place=step.state, batch_size=step.state.shape[:1]))


@pytest.mark.parametrize("capacity", [5, 40])
def test_states_may_be_tensor_classes(capacity):
    game = RandomGame.draw(3, states=12, actions=4, seed=1, prior=True)
    structured = StructuredGame(**vars(game))
    trees = []
    for problem in (game, structured):
        tree = init_tree(problem.root(), capacity, dtype=torch.float64)
        search(tree, problem, 30, puct(), 0.9)
        trees.append(tree)
    assert_same(*trees)
    for row in range(3):
        live = slice(0, int(trees[0].used[row]))
        assert torch.equal(trees[0].state[row, live], trees[1].state.place[row, live])


@compiled_step(np.int64, np.float64)
def table_step(
    parameters: Any,
    state: Any,
    action: Any,
    needed: Any,
    after: Any,
    reward: Any,
    terminal: Any,
    mask: Any,
    value: Any,
    prior: Any,
) -> None:
    """`RandomGame.step`; the parameters are the sizes and its tables, end to end."""
    batch, states, actions = int(parameters[0]), int(parameters[1]), prior.shape[1]
    edges, nodes = batch * states * actions, batch * states
    for b in range(len(action)):
        row, place = state[b, 0], state[b, 1]
        edge = 2 + (row * states + place) * actions + action[b]
        here = int(parameters[edge])
        after[b, 0], after[b, 1] = row, here
        reward[b] = parameters[edge + edges]
        node = 2 + 2 * edges + row * states + here
        terminal[b], value[b] = parameters[node] > 0, parameters[node + nodes]
        for a in range(actions):
            edge = 2 + 2 * edges + 2 * nodes + (row * states + here) * actions + a
            mask[b, a], prior[b, a] = parameters[edge] > 0, parameters[edge + edges]


class CompiledGame(RandomGame):
    compiled_step = table_step

    @property
    def parameters(self):
        batch, states, _ = self.reward.shape
        tables = (self.after, self.reward, self.terminal, self.value, self.mask, self.prior)
        return np.concatenate([[batch, states], *(table.double().flatten().numpy() for table in tables)])

    def step(self, state: Any, action: Any, needed: Any) -> Step:
        raise AssertionError("the compiled step is there")


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("capacity", [4, 60])
def test_a_compiled_problem_is_searched_alike(name, capacity):
    game = RandomGame.draw(5, states=10, actions=4, seed=3, prior=True)
    noise = gumbel_noise(torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    trees = []
    for problem in (game, CompiledGame(**vars(game))):
        tree = init_tree(problem.root(), capacity, dtype=torch.float64)
        search(tree, problem, 30, policy_of(name, noise, 30), 0.95, 6)
        trees.append(tree)
    assert_same(*trees)
    assert torch.equal(trees[0].state[:, 0], trees[1].state[:, 0])


def test_blocks_do_not_change_the_answer(monkeypatch):
    batch = 3 * backend.FEWEST + 5
    game = CompiledGame(**vars(RandomGame.draw(batch, states=10, actions=4, seed=8, prior=True)))
    noise = gumbel_noise(
        torch.rand(batch, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    trees = []
    for cache in (2**40, 1):
        monkeypatch.setattr(backend, "CACHE", cache)
        tree = init_tree(game.root(), 31, dtype=torch.float64)
        effort = search(tree, game, 30, policy_of("gumbel", noise, 30), 0.95, 6)
        trees.append((tree, effort))
    (whole, whole_effort), (parts, effort) = trees
    assert_same(whole, parts)
    assert torch.equal(whole_effort.steps, effort.steps)


@pytest.mark.parametrize("name", POLICIES)
def test_roots_are_read_alike(name):
    """Compiled or in tensors, whatever was searched, if anything, and with equal values."""
    game = RandomGame.draw(6, states=9, actions=4, seed=2, ended=0.2, prior=True)
    noise = gumbel_noise(torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    tree = init_tree(game.root(), 40, dtype=torch.float64)
    for simulations in (0, 1, 7, 20, 0):
        policy = policy_of(name, noise, simulations)
        search(tree, game, simulations, policy, 0.9)
        for asked in (policy, None):
            ours = summarize(tree, asked)
            decide = most_visited if asked is None else asked.decide
            theirs = summarize(tree, policy._replace(decide=lambda edges, decide=decide: decide(edges)))
            assert torch.equal(ours.action, theirs.action)
            for field in ("visits", "values", "best"):
                assert torch.equal(getattr(ours, field), getattr(theirs, field))


def test_a_plain_step_is_not_taken_for_a_compiled_one():
    game = CompiledGame(**vars(RandomGame.draw(2, states=5, actions=3, seed=0, prior=True)))
    game.compiled_step = table_step.function
    with pytest.raises(ValueError, match="put @compiled_step"):
        search(init_tree(game.root(), 5, dtype=torch.float64), game, 4, puct())


def test_a_compiled_step_for_other_numbers_is_named():
    game = CompiledGame(**vars(RandomGame.draw(2, states=5, actions=3, seed=0, prior=True)))
    with pytest.raises(ValueError, match=r"float64 values.*compiled_step\(int64, float32\)"):
        search(init_tree(game.root(), 5), game, 4, puct())


def test_what_a_compiled_step_is_given_is_checked():
    class Short(CompiledGame):
        parameters = np.zeros(3, np.float32)

    game = Short(**vars(RandomGame.draw(2, states=5, actions=3, seed=0, prior=True)))
    with pytest.raises(ValueError, match=r"float32 \[3\].*one array \[n\] of float64"):
        search(init_tree(game.root(), 5, dtype=torch.float64), game, 4, puct())


@pytest.mark.parametrize("part", ["state", "reward", "terminal", "mask", "value", "prior"])
def test_a_step_of_another_shape_is_refused(part):
    """Compiled code would read beyond its end."""
    game = RandomGame.draw(3, states=5, actions=4, seed=0, prior=True)

    class Cut(RandomGame):
        def step(self, state, action, needed):
            step = super().step(state, action, needed)
            return step._replace(**{part: getattr(step, part)[:-1]})

    with pytest.raises(ValueError, match=rf"a step's {part} must be \[3.*not \[2"):
        search(init_tree(game.root(), 5, dtype=torch.float64), Cut(**vars(game)), 4, puct())


def test_rows_keep_what_a_problem_was_given():
    """A problem may hold on to what it is asked: the search does not write to it again."""
    game = RandomGame.draw(2, states=9, actions=3, seed=0, prior=True)
    asked: list[tuple[torch.Tensor, ...]] = []

    class Recording(RandomGame):
        def step(self, state, action, needed):
            asked.append((state, state.clone(), action, action.clone(), needed, needed.clone()))
            return super().step(state, action, needed)

    search(init_tree(game.root(), 20, dtype=torch.float64), Recording(**vars(game)), 12, puct())
    assert len(asked) == 12
    for given_, kept in ((call[i], call[i + 1]) for call in asked for i in (0, 2, 4)):
        assert torch.equal(given_, kept)


def test_single_precision_and_odd_layouts():
    """Outputs that are slices, of another dtype or with a history are taken as they are."""
    game = RandomGame.draw(3, states=9, actions=4, seed=5, prior=True)

    class Odd(RandomGame):
        def step(self, state, action, needed):
            step = super().step(state, action, needed)
            weight = torch.ones((), dtype=torch.float64, requires_grad=True)
            return replace_step(step, weight)

    def replace_step(step: Step, weight: torch.Tensor) -> Step:
        twice = torch.stack([step.reward, step.value], 1) * weight
        return step._replace(reward=twice[:, 0], value=twice[:, 1], prior=step.prior.T.contiguous().T)

    trees = []
    for problem in (game, Odd(**vars(game))):
        tree = init_tree(problem.root(), 31)
        assert tree.q_values.dtype == torch.float32
        search(tree, problem, 30, puct(), 0.9)
        trees.append(tree)
    assert_same(*trees)


def test_only_policies_that_are_described_are_compiled():
    tree = init_tree(RandomGame.draw(1, states=3, actions=2, seed=0).root(), 3)
    policy = puct()
    assert supports(tree, policy)
    assert not supports(tree, policy._replace(interior=lambda edges: edges.visits.argmin(-1)))
    assert not supports(tree, policy._replace(root=uct(1.0).root))
    assert not supports(replace(tree, q_values=tree.q_values.half()), policy)
