"""Rows of a batch over several threads, without those of PyTorch in the way.

PyTorch's threads wait busily for more work when theirs is done. Operations on a batch of rows are too small
for them, and those of the compiled kernels, which let go of Python's lock, need the cores.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PIECES = 4
"""For each thread: rows cost more or less, and who is done with a piece takes the next."""
_given = threading.local()


@contextmanager
def without_pytorch() -> Iterator[None]:
    """Within it the calling thread's operations of PyTorch use one thread, and `spread` has the others."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    _given.threads = before
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        del _given.threads


def spread(work: Callable[[NDArray[Any]], None], *kinds: tuple[NDArray[Any], int]) -> None:
    """Do the work for all rows, in as many threads as PyTorch may use; the calling one is among them.

    Args:
        work: Called with a piece of the rows at a time, from several threads at once: no two pieces may write
            to the same place. How rows are cut depends on their number and that of the threads alone.
        kinds: Rows `[b]` that cost about the same, and how many of them are worth a piece of their own. What
            costs most comes first.
    """
    threads = getattr(_given, "threads", 0) or torch.get_num_threads()
    pieces = [
        piece
        for rows, least in kinds
        if len(rows) > 0
        for piece in np.array_split(rows, max(1, min(PIECES * threads, len(rows) // least)))
    ]
    threads = min(threads, len(pieces))
    if threads < 2:
        work(np.concatenate([rows for rows, _ in kinds]))
        return
    waiting = deque(pieces)

    def run() -> None:
        while True:
            try:
                piece = waiting.popleft()
            except IndexError:
                return
            work(piece)

    pool = _pool(threads - 1)
    helpers = [pool.submit(run) for _ in range(threads - 1)]
    try:
        run()
    finally:
        waiting.clear()  # after a fault nobody begins another piece
        for helper in helpers:
            if not helper.cancel():
                helper.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="rows")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay with the parent
