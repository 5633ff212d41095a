"""A shard in a Ray actor, on any machine of a cluster that sees the folders of the index."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import numpy as np

from retrieval.engines.base import MissingEngineError
from retrieval.sharding.index_shard import IndexShard, Reply, reply_of, value_of
from retrieval.sharding.protocol import ShardDiedError
from retrieval.sharding.thread_host import THREADS


class _Actor:
    """An `IndexShard` whose errors come as values."""

    def __init__(self) -> None:
        self._shard = IndexShard()

    def reply(self, method: str, arguments: tuple[Any, ...]) -> Reply:
        return reply_of(self._shard, method, tuple(map(_writable, arguments)))


class RayHost:
    """A `ShardHost` in an actor of the cluster that `ray.init` joined, or of a local one.

    Ray places the actors of an index on different machines where it can. An actor that dies is noticed when
    it is called.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingEngineError(
                "place='ray' needs the package ray: pip install -c constraints.txt -e '.[cluster]'"
            )
        import ray

        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        kind: Any = self._ray.remote(_Actor)
        options = {"max_concurrency": THREADS, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._actor = kind.options(**options).remote()

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        """See `ShardHost`."""
        future: Future[Any] = Future()
        try:
            self._actor.reply.remote(method, arguments).future().add_done_callback(
                lambda done: self._settle(done, future)
            )
        except self._ray.exceptions.RayError as error:
            future.set_exception(ShardDiedError(f"the actor of a shard is gone ({_line(error)})"))
        return future

    def _settle(self, done: Future[Any], future: Future[Any]) -> None:
        with suppress(InvalidStateError):
            try:
                future.set_result(value_of(done.result()))
            except self._ray.exceptions.RayError as error:
                future.set_exception(ShardDiedError(f"the actor of a shard is gone ({_line(error)})"))
            except Exception as error:
                future.set_exception(error)

    def kill(self) -> None:
        """See `ShardHost`."""
        if self._ray.is_initialized():
            self._ray.kill(self._actor)

    def watch(self, on_death: Callable[[], None]) -> None:
        """See `ShardHost`; Ray tells when the actor is called."""


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _writable(value: Any) -> Any:
    """Ray's arrays lie in memory that is only read, which compiled code would be compiled anew for."""
    return value.copy() if isinstance(value, np.ndarray) and not value.flags.writeable else value
