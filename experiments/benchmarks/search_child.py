"""Process in which ``search`` measures, bound to its cores before it imports anything that has threads."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from types import ModuleType
from typing import Any

from experiments.benchmarks.base import interleaved, median
from experiments.benchmarks.search_setup import ACTIONS, HIDDEN, OUTPUTS, STATE


def main(arguments: list[str]) -> None:
    """Do a task and print its answer as one line of JSON."""
    task, threads, text = arguments
    settings = json.loads(text)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    run = start if task == "start" else speed
    print(json.dumps(run(int(threads), **settings)))


def start(threads: int, policy: str, batch: int, name: str) -> dict[str, float]:
    """One search, or imports alone; when it was done, in seconds since the epoch."""
    if name == "imports":
        import numba  # noqa: F401
        import torch  # noqa: F401
    else:
        module(name).searcher(name, policy, batch, draw(batch), threads)()
    return {"answered": time.time()}


def speed(threads: int, policy: str, batch: int, seconds: float, rounds: int, peer: bool) -> dict[str, Any]:
    """Seconds of a search and of its dynamics alone, by peer, and how often the trees agree with mctx's."""
    inputs = draw(batch)
    names = ["ours", "compiled", *(["mctx"] if peer else [])]
    searches = {name: module(name).searcher(name, policy, batch, inputs, threads) for name in names}
    floors = {name: module(name).dynamics(name, batch, inputs, threads) for name in names}
    answer: dict[str, Any] = {}
    for key, functions in (("search", searches), ("dynamics", floors)):
        times = interleaved(functions, seconds=seconds, rounds=rounds)
        answer[key] = {name: median(found) for name, found in times.items()}
    if peer:
        noise, visits = module("mctx").visits(policy, batch, inputs)
        answer["equal"] = module("ours").agreement(policy, batch, inputs, noise, visits)
    return answer


def module(name: str) -> ModuleType:
    """The module that has a peer; only what is asked for is imported."""
    if name == "mctx":
        from experiments.benchmarks import search_mctx

        return search_mctx
    from experiments.benchmarks import search_ours

    return search_ours


def draw(batch: int) -> dict[str, Any]:
    """Weights `[in, out]` and biases of the three layers; root states `[B, STATE]`, logits and values."""
    import numpy as np

    random = np.random.default_rng(0)
    inputs = {}
    sizes = (STATE + ACTIONS, HIDDEN, HIDDEN, OUTPUTS)
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        inputs[f"w{layer}"] = random.normal(0.0, (2 / fan_in) ** 0.5, (fan_in, fan_out))
        inputs[f"b{layer}"] = random.normal(0.0, 0.1, fan_out)
    inputs["state"] = random.normal(size=(batch, STATE))
    inputs["logits"] = random.normal(size=(batch, ACTIONS))
    inputs["value"] = random.normal(size=batch)
    return {name: array.astype(np.float32) for name, array in inputs.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
