"""Queue of what is computed for requests: so many at once, and an end to how many may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch

from experiments.demo_page.refusals import RefusedRequest

MOST_WAITING = 200
_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkQueue:
    """Threads that compute; PyTorch takes one core in each, so that they do not stand in each other's way.

    Args:
        threads: Computations at once.
        most: Computations that may be under way or wait.
    """

    def __init__(self, threads: int, most: int = MOST_WAITING) -> None:
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="demo")
        self._most, self._count = most, 0

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What ``work`` returns, computed in one of the threads.

        Raises:
            RefusedRequest: Too many are waiting.
        """
        if self._count >= self._most:
            raise RefusedRequest("too many are asking at the moment; try again in a few seconds", 503)
        self._count += 1
        try:
            call: Callable[[], Any] = partial(work, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._count -= 1

    def close(self) -> None:
        """Ends the threads once they have done what they are at."""
        self._pool.shutdown(wait=True, cancel_futures=True)
