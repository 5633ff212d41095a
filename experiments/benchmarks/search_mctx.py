"""mctx's side of the search benchmark: jitted, as its documentation does it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.search_setup import ACTIONS, DEPTH, DISCOUNT, SIMULATIONS


def step(weights: Any, key: Any, action: Any, state: Any) -> Any:
    """The dynamics, as mctx's ``recurrent_fn``."""
    import jax
    import jax.numpy as jnp
    import mctx

    hidden = jnp.concatenate([state, jax.nn.one_hot(action, ACTIONS)], -1)
    hidden = jax.nn.relu(hidden @ weights["w0"] + weights["b0"])
    hidden = jax.nn.relu(hidden @ weights["w1"] + weights["b1"])
    output = hidden @ weights["w2"] + weights["b2"]
    found = mctx.RecurrentFnOutput(
        reward=output[:, 0],
        discount=jnp.full(len(state), DISCOUNT, jnp.float32),
        prior_logits=output[:, 2 : 2 + ACTIONS],
        value=output[:, 1],
    )
    return found, output[:, 2 + ACTIONS :]


def search(policy: str) -> Callable[..., Any]:
    """A search as a jitted function of the inputs and a key."""
    import jax
    import mctx

    run = mctx.muzero_policy if policy == "puct" else mctx.gumbel_muzero_policy

    def search(inputs: Any, key: Any) -> Any:
        root = mctx.RootFnOutput(
            prior_logits=inputs["logits"], value=inputs["value"], embedding=inputs["state"]
        )
        return run(inputs, key, root, step, SIMULATIONS, max_depth=DEPTH)

    return jax.jit(search)


def searcher(
    name: str, policy: str, batch: int, inputs: dict[str, Any], threads: int
) -> Callable[[], object]:
    """A function that searches once, with fresh noise, and waits for the action and its weights."""
    import jax

    given, function = jax.device_put(inputs), search(policy)

    @jax.jit
    def answer(inputs: Any, seed: int) -> Any:
        output = function(inputs, jax.random.PRNGKey(seed))
        return output.action, output.action_weights  # the tree need not be copied out

    seeds = itertools.count()
    return lambda: jax.block_until_ready(answer(given, next(seeds)))


def dynamics(name: str, batch: int, inputs: dict[str, Any], threads: int) -> Callable[[], object]:
    """A function that takes as many steps as a search, one after another."""
    import jax
    import jax.numpy as jnp

    def walk(inputs: Any) -> Any:
        action = jnp.zeros(batch, jnp.int32)
        return jax.lax.fori_loop(
            0, SIMULATIONS, lambda _, state: step(inputs, None, action, state)[1], inputs["state"]
        )

    given, function = jax.device_put(inputs), jax.jit(walk)
    return lambda: jax.block_until_ready(function(given))


def visits(policy: str, batch: int, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """The noise that a search drew, and its visits at the root, `[B, A]` both."""
    import jax
    import jax.numpy as jnp

    key = jax.random.PRNGKey(0)
    output = search(policy)(jax.device_put(inputs), key)
    if policy == "puct":  # as ``muzero_policy`` draws it
        noise = jax.random.dirichlet(jax.random.split(key, 3)[1], jnp.full([ACTIONS], 0.3), shape=(batch,))
    else:
        noise = output.search_tree.extra_data.root_gumbel
    return np.asarray(noise), np.asarray(output.search_tree.summary().visit_counts)
