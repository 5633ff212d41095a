"""The compiled walk and the tensor walk must grow the same trees, whatever the problem."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorClass

from agents.search import (
    Backend,
    Policy,
    Step,
    Tree,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mix,
    puct,
    reroot,
    search,
    summarize,
    uct,
)
from tests.agents.search.oracle import RandomGame

POLICIES = ("uct", "puct", "gumbel")
BACKENDS: tuple[Backend, ...] = ("numba", "torch")
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
    for backend in BACKENDS:
        tree = init_tree(root, capacity, torch.Generator().manual_seed(seed), dtype=torch.float64)
        efforts = []
        for simulations in (15, 7):
            policy = policy_of(name, noise, simulations)
            efforts.append(search(tree, game, simulations, policy, discount, max_depth, backend))
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


@pytest.mark.parametrize(
    ("policy", "dtype", "words"),
    [
        (puct()._replace(root=lambda edges: puct().root(edges)), torch.float32, "plain functions"),
        (puct()._replace(interior=puct().interior), torch.float32, "plain functions"),
        (puct(), torch.float16, "values are torch.float16"),
    ],
)
def test_what_the_kernels_cannot_do_is_done_in_tensors_or_refused(policy, dtype, words):
    game = RandomGame.draw(2, states=6, actions=3, seed=0, prior=True)
    tree = init_tree(game.root(), 5, dtype=dtype)
    with pytest.raises(ValueError, match=f"backend=numba: .*{words}"):
        search(tree, game, 1, policy, backend="numba")
    search(tree, game, 4, policy)
    assert tree.visits[:, 0].sum(-1).tolist() == [4, 4]


def test_gumbel_selectors_in_the_wrong_place_are_not_compiled():
    game = RandomGame.draw(2, states=6, actions=3, seed=0, prior=True)
    policy = gumbel(torch.zeros(2, 3), 4)
    with pytest.raises(ValueError, match="backend=numba"):
        search(init_tree(game.root(), 5), game, 4, policy._replace(root=policy.interior), backend="numba")


def test_an_unknown_backend_is_named():
    game = RandomGame.draw(1, states=6, actions=3, seed=0)
    with pytest.raises(ValueError, match="backend=jax: must be auto, torch or numba"):
        search(init_tree(game.root(), 5), game, 4, uct(1.0), backend="jax")


def test_noise_of_another_shape_is_refused():
    game = RandomGame.draw(3, states=6, actions=3, seed=0, prior=True)
    with pytest.raises(ValueError, match=r"noise must be \[3, 3\], not \[2, 3\]"):
        search(init_tree(game.root(), 5), game, 4, gumbel(torch.zeros(2, 3), 4))
