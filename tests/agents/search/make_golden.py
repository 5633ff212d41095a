"""Make the golden trees: what mctx does on a game of tables, for the tests to compare with.

They were made with mctx 0.0.71 and jax 0.10.2 on a CPU, in double precision, in an environment of their own:

    python -m venv .venv-mctx && .venv-mctx/bin/pip install mctx jax
    .venv-mctx/bin/python tests/agents/search/make_golden.py

The file holds the game (states, rewards, ends, legal actions, values, logits), and for each case its
settings, the noise that mctx drew, and its answer: visit counts at the root and the action to make.

mctx knows neither ends nor illegal actions below the root, so an end is a discount of 0 and an illegal action
has a logit of -1e9.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "mctx.json"

CASES: list[dict[str, Any]] = [
    {"policy": "puct", "simulations": 24, "discount": 1.0, "fraction": 0.0},
    {"policy": "puct", "simulations": 60, "discount": 0.9, "fraction": 0.0},
    {"policy": "puct", "simulations": 40, "discount": 0.97, "fraction": 0.25, "legal": True},
    {"policy": "gumbel", "simulations": 16, "discount": 1.0, "considered": 16, "scale": 1.0},
    {"policy": "gumbel", "simulations": 50, "discount": 0.9, "considered": 4, "scale": 1.0},
    {"policy": "gumbel", "simulations": 5, "discount": 1.0, "considered": 16, "scale": 1.0},
    {"policy": "gumbel", "simulations": 33, "discount": 0.97, "considered": 5, "scale": 0.0},
    {"policy": "puct", "simulations": 60, "discount": 0.9, "fraction": 0.0, "max_depth": 3},
    {"policy": "gumbel", "simulations": 60, "discount": 0.97, "considered": 4, "scale": 1.0, "max_depth": 2},
]


def draw_game(batch: int = 4, states: int = 12, actions: int = 6, seed: int = 0) -> dict[str, Any]:
    """Tables at random, rounded so that a file holds them: `[B, states]`, `[B, states, actions]`."""
    random = np.random.default_rng(seed)
    edges, nodes = (batch, states, actions), (batch, states)
    mask = random.random(edges) < 0.7
    mask[:, 0, :2] = True
    terminal = (random.random(nodes) < 0.15) | ~mask.any(-1)
    terminal[:, 0] = False
    return {
        "after": random.integers(0, states, edges).tolist(),
        "reward": random.uniform(-1, 2, edges).round(3).tolist(),
        "terminal": terminal.tolist(),
        "mask": mask.tolist(),
        "value": np.where(terminal, 0.0, random.uniform(0, 1, nodes)).round(3).tolist(),
        "prior": random.uniform(-2, 2, edges).round(3).tolist(),
    }


def answer(game: dict[str, Any], case: dict[str, Any], seed: int) -> dict[str, Any]:
    """What mctx does: the noise it drew, visit counts `[B, A]` and actions `[B]`."""
    import jax
    import jax.numpy as jnp
    import mctx

    jax.config.update("jax_enable_x64", True)
    tables = {name: jnp.asarray(table) for name, table in game.items()}
    mask = jnp.ones_like(tables["mask"]) if case.get("legal") else tables["mask"]
    logits = jnp.where(mask, tables["prior"], -1e9)
    batch, _, actions = mask.shape
    rows = jnp.arange(batch)

    def step(params: Any, key: Any, action: Any, position: Any) -> Any:
        after = tables["after"][rows, position, action]
        output = mctx.RecurrentFnOutput(
            reward=tables["reward"][rows, position, action],
            discount=jnp.where(tables["terminal"][rows, after], 0.0, case["discount"]),
            prior_logits=logits[rows, after],
            value=tables["value"][rows, after],
        )
        return output, after

    root = mctx.RootFnOutput(
        prior_logits=logits[:, 0], value=tables["value"][:, 0], embedding=jnp.zeros(batch, jnp.int64)
    )
    key = jax.random.PRNGKey(seed)
    common = {
        "params": (),
        "rng_key": key,
        "root": root,
        "recurrent_fn": step,
        "num_simulations": case["simulations"],
        "invalid_actions": ~mask[:, 0],
        "max_depth": case.get("max_depth"),
    }
    if case["policy"] == "puct":
        output = mctx.muzero_policy(**common, dirichlet_fraction=case["fraction"], temperature=0.0)
        # As `muzero_policy` draws it.
        noise = jax.random.dirichlet(jax.random.split(key, 3)[1], jnp.full([actions], 0.3), shape=(batch,))
    else:
        output = mctx.gumbel_muzero_policy(
            **common, max_num_considered_actions=case["considered"], gumbel_scale=case["scale"]
        )
        noise = output.search_tree.extra_data.root_gumbel
    return {
        "noise": np.asarray(noise).tolist(),
        "visits": np.asarray(output.search_tree.summary().visit_counts).astype(int).tolist(),
        "action": np.asarray(output.action).tolist(),
    }


def main() -> None:
    """Write the file."""
    game = draw_game()
    cases = [case | answer(game, case, seed) for seed, case in enumerate(CASES)]
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    tables = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(table)}" for name, table in game.items())
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(f'{{"game": {{\n  {tables}\n}}, "cases": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main()
