"""Our side of the search benchmark: the dynamics in PyTorch and compiled, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.search import (
    Policy,
    Root,
    Step,
    Summary,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mix,
    puct,
    search,
    summarize,
)
from compiling import cached_njit, device_njit
from experiments.benchmarks.search_setup import ACTIONS, DEPTH, DISCOUNT, SIMULATIONS, STATE

FRACTION, ALPHA = 0.25, 0.3
"""Of Dirichlet noise: mctx's defaults."""


class Dynamics:
    """The perceptron in PyTorch, for a batch of one size."""

    def __init__(self, batch: int, inputs: dict[str, Any]) -> None:
        self.weights = {name: torch.from_numpy(array) for name, array in inputs.items()}
        self.one_hot = torch.eye(ACTIONS)
        self.mask = torch.ones(batch, ACTIONS, dtype=torch.bool)
        self.terminal = torch.zeros(batch, dtype=torch.bool)

    @torch.inference_mode()
    def step(self, state: Tensor, action: Tensor, needed: Tensor) -> Step:
        """As ``Problem`` says."""
        weights = self.weights
        hidden = torch.cat([state, self.one_hot[action]], -1)
        hidden = torch.addmm(weights["b0"], hidden, weights["w0"]).relu_()
        hidden = torch.addmm(weights["b1"], hidden, weights["w1"]).relu_()
        output = torch.addmm(weights["b2"], hidden, weights["w2"])
        reward, value, logits, after = output.split((1, 1, ACTIONS, STATE), -1)
        return Step(after, reward[:, 0], self.terminal, self.mask, value[:, 0], logits)


class Weights(NamedTuple):
    """Weights `[in, out]` and biases `[out]` of the three layers."""

    w0: Any
    b0: Any
    w1: Any
    b1: Any
    w2: Any
    b2: Any


class CompiledDynamics(Dynamics):
    """The same, compiled."""

    def __init__(self, batch: int, inputs: dict[str, Any]) -> None:
        super().__init__(batch, inputs)
        self.layers = Weights(*(inputs[name] for name in Weights._fields))

    def step(self, state: Tensor, action: Tensor, needed: Tensor) -> Step:
        """Take a step, as ``Problem`` says."""
        output = torch.from_numpy(perceptron(self.layers, state.numpy(), action.numpy()))
        reward, value, logits, after = output.split((1, 1, ACTIONS, STATE), -1)
        return Step(after, reward[:, 0], self.terminal, self.mask, value[:, 0], logits)


@cached_njit(error_model="numpy", no_cfunc_wrapper=True)
def perceptron(weights: Weights, state: Any, action: Any) -> Any:
    """Return the outputs of the dynamics `[B, OUTPUTS]`."""
    given = np.zeros((len(state), STATE + ACTIONS), np.float32)
    for b in range(len(state)):
        for i in range(STATE):
            given[b, i] = state[b, i]
        given[b, STATE + action[b]] = 1
    hidden = np.dot(given, weights.w0)
    rectify(hidden, weights.b0)
    hidden = np.dot(hidden, weights.w1)
    rectify(hidden, weights.b1)
    return np.dot(hidden, weights.w2) + weights.b2


@device_njit(error_model="numpy")
def rectify(hidden: Any, bias: Any) -> None:
    """Add the bias to a layer `[B, HIDDEN]` and cut it off at zero, in place."""
    for b in range(hidden.shape[0]):
        for i in range(hidden.shape[1]):
            hidden[b, i] = max(hidden[b, i] + bias[i], 0)


def problem(name: str, batch: int, inputs: dict[str, Any]) -> Dynamics:
    """The dynamics by name, ``ours`` in PyTorch or ``compiled``."""
    return (CompiledDynamics if name == "compiled" else Dynamics)(batch, inputs)


def answer(policy: str, dynamics: Dynamics, noise: Tensor) -> Summary:
    """One search with this noise `[B, A]` at the root: Gumbel's, or Dirichlet's for PUCT."""
    given = dynamics.weights
    logits = given["logits"]
    rule: Policy
    if policy == "puct":
        logits, rule = mix(logits, noise, FRACTION), puct()
    else:
        rule = gumbel(noise, SIMULATIONS)
    tree = init_tree(Root(given["state"], dynamics.mask, None, logits, given["value"]), SIMULATIONS + 1)
    search(tree, dynamics, SIMULATIONS, rule, DISCOUNT, DEPTH)
    return summarize(tree, rule)


def searcher(
    name: str, policy: str, batch: int, inputs: dict[str, Any], threads: int
) -> Callable[[], object]:
    """A function that searches once, with fresh noise."""
    torch.set_num_threads(threads)
    dynamics, generator = problem(name, batch, inputs), torch.Generator().manual_seed(0)

    def run() -> Summary:
        uniforms = torch.rand(batch, ACTIONS, generator=generator)
        if policy == "puct":
            return answer(policy, dynamics, dirichlet_noise(uniforms, dynamics.mask, ALPHA))
        return answer(policy, dynamics, gumbel_noise(uniforms))

    return run


def dynamics(name: str, batch: int, inputs: dict[str, Any], threads: int) -> Callable[[], object]:
    """A function that takes as many steps as a search, one after another."""
    torch.set_num_threads(threads)
    model = problem(name, batch, inputs)
    action = torch.zeros(batch, dtype=torch.int64)

    def walk() -> Tensor:
        state = model.weights["state"]
        for _ in range(SIMULATIONS):
            state = model.step(state, action, model.terminal).state
        return state

    return walk


def agreement(policy: str, batch: int, inputs: dict[str, Any], noise: Any, visits: Any) -> float:
    """Share of the rows in which a search with mctx's noise visits the root's actions as often as mctx does.

    In single precision, scores that all but tie may fall either way.
    """
    found = answer(policy, problem("compiled", batch, inputs), torch.tensor(noise)).visits.numpy()
    return float((found == visits).all(1).mean())
