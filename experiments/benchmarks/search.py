"""Tree search against mctx: the same dynamics, the same weights, the same simulations, by the same clock."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from align3d.errors import UserError
from experiments.benchmarks.base import Row, benchmark, median
from experiments.benchmarks.search_table import SearchRow, search_table

PEER = "mctx"
KINDS = {"ours": "PyTorch dynamics", "compiled": "compiled dynamics"}
"""Our cases, by the name that ``search_child`` knows them by, and how a row names them."""

SPEED, ALONE, SHARE, START = (
    "searches/s",
    "ms for 32 steps alone",
    "rows with equal visits",
    "s to first answer",
)
IMPORTS = "s to import PyTorch and Numba"

LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
"""Variables that libraries take their number of threads from; the last is JAX's."""


@benchmark("search", search_table)
def search(
    batch: tuple[int, ...] = (1, 64, 256),
    threads: tuple[int, ...] = (1, 2),
    policies: tuple[str, ...] = ("puct", "gumbel"),
    seconds: float = 1.0,
    rounds: int = 7,
    starts: int = 3,
    speed: bool = True,
) -> Iterator[Row]:
    """Searches a second, and the time to the first answer: ours and mctx's (extra bench).

    A search is 32 simulations over 16 actions, at most 8 deep, noise at the root and the choice of an action
    included; its dynamics are a perceptron of two hidden layers. Ours is measured with the dynamics in
    PyTorch, as any problem may be written, and compiled by Numba.

    Each count of threads is a process of its own, in which all peers run in turn. Before anything is imported
    it is bound to so many cores, which is what JAX's thread pool goes by, and PyTorch and BLAS are limited to
    as many threads.

    Args:
        batch: Numbers of rows that are searched together.
        threads: Numbers of cores that a process may use.
        policies: Policies to measure: ``puct``, ``gumbel``, or both.
        seconds: Time for each peer and case, in seconds.
        rounds: Number of turns in that time; the median is reported.
        starts: Number of fresh processes for the time to the first answer, of which the median is reported; 0
            for none.
        speed: Whether to measure searches a second as well.

    Raises:
        UserError: An unknown policy, or more threads than there are cores.
    """
    unknown = set(policies) - {"puct", "gumbel"}
    if unknown:
        raise UserError(f"policies={','.join(policies)}: expected puct, gumbel or both")
    cores = len(os.sched_getaffinity(0))
    if max(threads) > cores:
        raise UserError(f"threads={max(threads)}: this process may use {cores} cores")
    with_peer = importlib.util.find_spec("mctx") is not None
    if not with_peer:
        print("mctx is not installed (pip install 'align3d[bench]'): ours is measured alone", file=sys.stderr)
    for count in threads if speed else ():
        for policy in policies:
            for size in batch:
                settings = {"policy": policy, "batch": size, "seconds": seconds, "rounds": rounds}
                answer = child("speed", count, settings | {"peer": with_peer})
                words = f"{count} thread{'s' * (count > 1)}"
                yield from speed_rows((policy, f"batch {size}", words), size, answer)
    if starts > 0:
        for policy in policies:
            yield from start_rows(policy, starts, with_peer)


def speed_rows(case: tuple[str, ...], batch: int, answer: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of one case."""
    times, floors = answer["search"], answer["dynamics"]
    goal = 1.0 if batch == 1 else 1.5
    peer = batch / times[PEER] if PEER in times else None
    for kind, words in KINDS.items():
        yield SearchRow.of(case, words, SPEED, batch / times[kind], peer, goal=goal)
    for kind, words in KINDS.items():
        floor = 1e3 * floors[PEER] if PEER in floors else None
        yield SearchRow.of(case, words, ALONE, 1e3 * floors[kind], floor, higher_is_better=False)
    if "equal" in answer:
        yield SearchRow.of(case, "", SHARE, answer["equal"], None)


def start_rows(policy: str, starts: int, with_peer: bool) -> Iterator[Row]:
    """Rows of the time from the start of a process to its first answer, at a batch of 64.

    What it takes to end the process is not in it, though a user waits for it: half a second for
    PyTorch, a quarter for JAX. Cold is a machine on which nothing was compiled before. Warm is
    every later process: with Numba's files of ours, and with JAX's compilation cache, which is off unless a
    user turns it on. Beside it stands what nobody who uses PyTorch and Numba can do without: their imports.
    """
    names = [*KINDS, *([PEER] if with_peer else []), "imports"]
    cold: dict[str, list[float]] = {name: [] for name in names}
    warm: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(starts):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                caches = {
                    "NUMBA_CACHE_DIR": folder,
                    "JAX_COMPILATION_CACHE_DIR": folder,
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                }
                for times in (cold, warm):
                    begin = time.time()
                    found = child("start", 1, {"policy": policy, "batch": 64, "name": name}, caches)
                    times[name].append(found["answered"] - begin)
    for state, times in (("cold cache", cold), ("warm cache", warm)):
        for kind, words in KINDS.items():
            peer = median(times[PEER]) if with_peer else None
            case, goal = (policy, "start-up", state), 1.0
            yield SearchRow.of(
                case, words, START, median(times[kind]), peer, goal=goal, higher_is_better=False
            )
        yield SearchRow.of((policy, "start-up", state), "", IMPORTS, median(times["imports"]), None)


def child(
    task: str, threads: int, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Have a process that is bound to so many cores do ``task`` of ``search_child``, and read its answer.

    Raises:
        RuntimeError: It failed; its error is in the message.
    """
    module = "experiments.benchmarks.search_child"
    command = [sys.executable, "-m", module, task, str(threads), json.dumps(settings)]
    limits = dict.fromkeys(LIMITS, str(threads))
    variables = os.environ | limits | {"JAX_PLATFORMS": "cpu"} | dict(environment or {})
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, env=variables, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
