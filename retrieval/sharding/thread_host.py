"""A shard in this process, with threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from retrieval.sharding.index_shard import IndexShard
from retrieval.sharding.protocol import ShardDiedError

THREADS = 2
"""Of a shard: a change may be at work while searches go on."""


class ThreadHost:
    """A `ShardHost` in this process."""

    def __init__(self) -> None:
        self._shard: IndexShard | None = IndexShard()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="shard")

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        """See `ShardHost`."""
        try:
            return self._pool.submit(self._call, method, arguments)
        except RuntimeError:  # the pool is closed
            return died()

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        shard = self._shard
        if shard is None:
            raise ShardDiedError("the shard is closed")
        return getattr(shard, method)(*arguments)

    def kill(self) -> None:
        """See `ShardHost`; calls that are under way end as they do."""
        self._shard = None
        self._pool.shutdown(wait=False)

    def watch(self, on_death: Callable[[], None]) -> None:
        """See `ShardHost`: it does not die by itself."""


def died() -> Future[Any]:
    """A call of a replica that is gone."""
    future: Future[Any] = Future()
    future.set_exception(ShardDiedError("the shard is gone"))
    return future
