"""The protocol of where a shard lives: in a thread, in a process, or in an actor on another machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, Protocol, get_args

Place = Literal["thread", "process", "ray"]
PLACES: tuple[Place, ...] = get_args(Place)


class ShardDiedError(RuntimeError):
    """The process or actor of a shard is gone; another replica may answer."""


class ShardHost(Protocol):
    """A place that one replica of a shard lives in."""

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        """Calls a method of the `retrieval.sharding.index_shard.IndexShard` there.

        Returns:
            What the method returns or raises. It raises a `ShardDiedError` where the replica is gone.
        """

    def kill(self) -> None:
        """Ends the replica without asking it; calls that wait for it raise a `ShardDiedError`."""

    def watch(self, on_death: Callable[[], None]) -> None:
        """Has a function called, from any thread, when the replica dies by itself, where that is noticed."""
