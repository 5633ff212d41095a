"""Our side of the search benchmark: the dynamics in PyTorch and compiled, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from agents.search import (
    Policy,
    Root,
    Step,
    Summary,
    compiled_step,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mix,
    puct,
    search,
    summarize,
)
from compiling import product
from experiments.benchmarks.search_child import (
    ACTIONS,
    DEPTH,
    DISCOUNT,
    HIDDEN,
    OUTPUTS,
    SIMULATIONS,
    STATE,
)

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
        """As `Problem` says."""
        weights = self.weights
        hidden = torch.cat([state, self.one_hot[action]], -1)
        hidden = torch.addmm(weights["b0"], hidden, weights["w0"]).relu_()
        hidden = torch.addmm(weights["b1"], hidden, weights["w1"]).relu_()
        output = torch.addmm(weights["b2"], hidden, weights["w2"])
        reward, value, logits, after = output.split((1, 1, ACTIONS, STATE), -1)
        return Step(after, reward[:, 0], self.terminal, self.mask, value[:, 0], logits)


class CompiledDynamics(Dynamics):
    """The same, compiled."""

    def __init__(self, batch: int, inputs: dict[str, Any]) -> None:
        super().__init__(batch, inputs)
        self.compiled_step = perceptron
        layers = [inputs[f"{kind}{layer}"].ravel() for layer in range(3) for kind in ("w", "b")]
        self.parameters = np.concatenate(layers)


@compiled_step()
def perceptron(
    parameters: Any,
    state: Any,
    action: Any,
    needed: Any,
    after: Any,
    reward: Any,
    terminal: Any,
    mask: Any,
    value: Any,
    logits: Any,
) -> None:
    """The dynamics as a `CompiledProblem` has them."""
    batch, inputs = len(action), STATE + ACTIONS
    one = inputs * HIDDEN
    two = one + HIDDEN
    three = two + HIDDEN * HIDDEN
    four = three + HIDDEN
    five = four + HIDDEN * OUTPUTS
    # `product` and loops rather than `np.dot`, slices and `max`: those take three times as long to compile.
    given = np.empty((batch, inputs), np.float32)
    first = np.empty((batch, HIDDEN), np.float32)
    second = np.empty((batch, HIDDEN), np.float32)
    output = np.empty((batch, OUTPUTS), np.float32)
    for b in range(batch):
        for i in range(STATE):
            given[b, i] = state[b, i]
        for i in range(STATE, inputs):
            given[b, i] = 0
        given[b, STATE + action[b]] = 1
    product(given, parameters, 0, first)
    for b in range(batch):
        for i in range(HIDDEN):
            found = first[b, i] + parameters[one + i]
            first[b, i] = found if found > 0 else 0
    product(first, parameters, two, second)
    for b in range(batch):
        for i in range(HIDDEN):
            found = second[b, i] + parameters[three + i]
            second[b, i] = found if found > 0 else 0
    product(second, parameters, four, output)
    for b in range(batch):
        reward[b] = output[b, 0] + parameters[five]
        value[b] = output[b, 1] + parameters[five + 1]
        terminal[b] = False
        for i in range(ACTIONS):
            mask[b, i] = True
            logits[b, i] = output[b, 2 + i] + parameters[five + 2 + i]
        for i in range(STATE):
            after[b, i] = output[b, 2 + ACTIONS + i] + parameters[five + 2 + ACTIONS + i]


def problem(name: str, batch: int, inputs: dict[str, Any]) -> Dynamics:
    """The dynamics by name, `ours` in PyTorch or `compiled`."""
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
    if isinstance(model, CompiledDynamics):
        function, state = perceptron, inputs["state"]
        ends = [model.terminal.numpy().copy(), model.mask.numpy().copy()]
        line, table = np.empty(batch, np.float32), np.empty((batch, ACTIONS), np.float32)
        arrays = (action.numpy(), ends[0], state.copy(), line.copy(), *ends, line, table)
        return lambda: repeat(SIMULATIONS, function, model.parameters, state.copy(), *arrays)

    def walk() -> Tensor:
        state = model.weights["state"]
        for _ in range(SIMULATIONS):
            state = model.step(state, action, model.terminal).state
        return state

    return walk


@numba.njit(error_model="numpy")
def repeat(
    times: int,
    step: Any,
    parameters: Any,
    state: Any,
    action: Any,
    needed: Any,
    after: Any,
    reward: Any,
    terminal: Any,
    mask: Any,
    value: Any,
    logits: Any,
) -> None:
    """Take so many compiled steps, one after another."""
    for _ in range(times):
        step(parameters, state, action, needed, after, reward, terminal, mask, value, logits)
        state, after = after, state


def agreement(policy: str, batch: int, inputs: dict[str, Any], noise: Any, visits: Any) -> float:
    """Share of the rows in which a search with mctx's noise visits the root's actions as often as mctx does.

    In single precision, scores that all but tie may fall either way.
    """
    found = answer(policy, problem("compiled", batch, inputs), torch.tensor(noise)).visits.numpy()
    return float((found == visits).all(1).mean())
