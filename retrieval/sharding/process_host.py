"""A shard in a process of its own on this machine, which ends with the process that started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from retrieval.sharding.index_shard import value_of
from retrieval.sharding.protocol import ShardDiedError
from retrieval.sharding.thread_host import died

_CHILD = "retrieval.sharding.shard_process"
_ROOT = Path(__file__).parents[2]
_THREAD_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


class ProcessHost:
    """A `ShardHost` in another process, spoken to through a pair of sockets that no one else has.

    The process is started as a program, so that the caller's own is not imported in it and needs no guard.

    Args:
        threads: For numerical libraries there, unless the environment says how many.

    Attributes:
        pid: Of the process.
    """

    def __init__(self, threads: int) -> None:
        ours, theirs = socket.socketpair()
        environment = dict.fromkeys(_THREAD_LIMITS, str(threads)) | dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self.pid = self._process.pid
        self._connection = Connection(ours.detach())
        self._sending, self._waiting_lock = threading.Lock(), threading.Lock()
        self._waiting: dict[int, Future[Any]] | None = {}
        self._calls = 0
        self._on_death: Callable[[], None] = lambda: None
        threading.Thread(target=self._receive, name=f"shard-{self.pid}", daemon=True).start()

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        """See `ShardHost`."""
        future: Future[Any] = Future()
        with self._waiting_lock:
            if self._waiting is None:
                return died()
            self._calls += 1
            number = self._calls
            self._waiting[number] = future
        try:
            with self._sending:
                self._connection.send((number, method, arguments))
        except (OSError, ValueError):  # the other end is gone; `_receive` tells those who wait
            with suppress(InvalidStateError):
                future.set_exception(ShardDiedError(f"process {self.pid} of a shard is gone"))
        return future

    def kill(self) -> None:
        """See `ShardHost`."""
        self._on_death = lambda: None
        self._process.kill()
        self._process.wait()

    def watch(self, on_death: Callable[[], None]) -> None:
        """See `ShardHost`; it is noticed at once."""
        self._on_death = on_death

    def _receive(self) -> None:
        """Hands out replies until the process is gone."""
        while True:
            try:
                number, reply = self._connection.recv()
            except (EOFError, OSError):
                break
            with self._waiting_lock:
                future = None if self._waiting is None else self._waiting.pop(number, None)
            if future is not None:
                with suppress(InvalidStateError):
                    _settle(future, reply)
        with self._waiting_lock:
            left, self._waiting = self._waiting or {}, None
        for future in left.values():
            with suppress(InvalidStateError):
                future.set_exception(ShardDiedError(f"process {self.pid} of a shard is gone"))
        with self._sending:
            self._connection.close()
        self._process.wait()
        self._on_death()


def _settle(future: Future[Any], reply: Any) -> None:
    try:
        value = value_of(reply)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(value)
