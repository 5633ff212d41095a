"""The replicas of one shard: reads go to one that lives, changes to all, and what died is made again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Any, NamedTuple

from retrieval.sharding.index_shard import ShardFacts
from retrieval.sharding.protocol import ShardDiedError, ShardHost

Revive = Callable[["ReplicaSet", int], None]


_RETRY_SECONDS = 30.0
"""Seconds after which a replica that could not be made is tried again, while others answer."""


class ShardDownError(RuntimeError):
    """No replica of a shard lives, and none can be made; the message names the shard and the reason."""


class Pending(NamedTuple):
    """A call under way."""

    host: ShardHost
    future: Future[Any]


class ReplicaSet:
    """The replicas of a shard; any number of threads may read, one at a time may change.

    Args:
        shard: Its number.
        replicas: How many.
        patience: Seconds after which a replica that answers nothing counts as dead.
        revive: Makes the replica of a place again and puts it there with `join`; called in a thread.

    Attributes:
        shard: See above.
        revived: How often a replica was made again.
    """

    def __init__(self, shard: int, replicas: int, patience: float, revive: Revive) -> None:
        self.shard, self.revived = shard, 0
        self._patience, self._revive = patience, revive
        self._hosts: list[ShardHost | None] = [None] * replicas
        self._reviving = [False] * replicas
        self._failure: Exception | None = None
        self._turn = 0
        self._retry_at = math.inf
        self._lost: set[int] = set()
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def live(self) -> int:
        """Replicas that live, as far as is known."""
        return sum(host is not None for host in self._hosts)

    @property
    def hosts(self) -> list[ShardHost]:
        """Those that live."""
        return [host for host in self._hosts if host is not None]

    def join(self, slot: int, host: ShardHost) -> None:
        """Puts a replica that has all changes into its place."""
        with self._changed:
            wanted = not self._closed and self._hosts[slot] is None
            if wanted:
                self._hosts[slot], self._failure = host, None
                self._changed.notify_all()
        if not wanted:
            host.kill()
        else:
            host.watch(lambda: self.lose(host))

    def lose(self, host: ShardHost) -> None:
        """Takes a replica that is dead out, and has it made again in a thread."""
        with self._changed:
            if self._closed or host not in self._hosts:
                return
            slot = self._hosts.index(host)
            self._hosts[slot] = None
            self._lost.add(slot)
        host.kill()
        self.start_reviving(slot)

    def start_reviving(self, slot: int) -> None:
        """Has the replica of an empty place made, unless that is under way."""
        with self._changed:
            if self._closed or self._reviving[slot] or self._hosts[slot] is not None:
                return
            self._reviving[slot], self._failure = True, None
        threading.Thread(target=self._make, args=(slot,), name=f"revive-{self.shard}", daemon=True).start()

    def _make(self, slot: int) -> None:
        failure: Exception | None = None
        try:
            self._revive(self, slot)
        except Exception as error:
            failure = error
        with self._changed:
            self._reviving[slot] = False
            if failure is None and slot in self._lost:
                self._lost.remove(slot)
                self.revived += 1
            if failure is not None:
                self._failure, self._retry_at = failure, time.monotonic() + _RETRY_SECONDS
            self._changed.notify_all()

    def start_lacking(self) -> None:
        """Has the replicas of all empty places made."""
        self._retry_at = math.inf
        for slot in range(len(self)):
            self.start_reviving(slot)

    def fill(self) -> None:
        """Has all that are lacking made, and waits for them; ShardDownError where one cannot be."""
        self.start_lacking()
        with self._changed:
            self._changed.wait_for(lambda: not any(self._reviving))
            if self._failure is not None and not self._closed:
                raise ShardDownError(f"shard {self.shard}: no replica can be made ({self._failure})")

    def begin(self, method: str, *arguments: Any) -> Pending:
        """Starts a call of one replica, in turn; ShardDownError where there is none and none can be made."""
        host = self._next()
        if self.live < len(self) and time.monotonic() > self._retry_at:
            self.start_lacking()
        return Pending(host, host.submit(method, *arguments))

    def finish(self, pending: Pending, method: str, *arguments: Any) -> Any:
        """What a call that was begun returns; where its replica dies, another is asked."""
        while True:
            try:
                return self._result(pending)
            except (ShardDiedError, LateError):
                self.lose(pending.host)
            pending = self.begin(method, *arguments)

    def read(self, method: str, *arguments: Any) -> Any:
        """Calls one replica; see `begin` and `finish`."""
        return self.finish(self.begin(method, *arguments), method, *arguments)

    def begin_all(self, method: str, *arguments: Any) -> list[Pending]:
        """Starts a call of all that live."""
        return [Pending(host, host.submit(method, *arguments)) for host in self.hosts]

    def finish_all(self, pending: list[Pending]) -> ShardFacts | None:
        """The facts after a change that `begin_all` started; None where no replica made it.

        One that fails, whatever the reason, is not what the others are: it is lost, and made again.
        """
        facts: ShardFacts | None = None
        for host, future in pending:
            try:
                facts = self._result(Pending(host, future))
            except Exception:
                self.lose(host)
        return facts

    def wait(self) -> None:
        """Waits until a replica lives; ShardDownError where none can be made."""
        self._next()

    def close(self) -> None:
        """Ends all replicas."""
        with self._changed:
            self._closed = True
            hosts, self._hosts = self.hosts, [None] * len(self._hosts)
            self._changed.notify_all()
        for host in hosts:
            host.kill()

    def _result(self, pending: Pending) -> Any:
        """What a call returns, however long it takes, as long as its replica answers something else."""
        while True:
            try:
                return pending.future.result(self._patience)
            except LateError:
                pending.host.submit("facts").result(self._patience)

    def _next(self) -> ShardHost:
        """The live replica whose turn it is, waiting for one to be made if there is none."""
        end, tried = time.monotonic() + self._patience, False
        while True:
            with self._changed:
                if self._closed:
                    raise ValueError("the index is closed: load it again")
                if hosts := self.hosts:
                    self._turn += 1
                    return hosts[self._turn % len(hosts)]
                left = end - time.monotonic()
                failed = self._failure if tried and not any(self._reviving) else None
                if failed is not None or left <= 0:
                    reason = failed or f"nothing in {self._patience:g} s"
                    raise ShardDownError(f"shard {self.shard} is down and cannot be made again ({reason})")
                if any(self._reviving):
                    tried = True
                    self._changed.wait(min(left, 1.0))
                    continue
            self.start_lacking()
            tried = True
