"""The program of a shard's process, see `retrieval.sharding.process_host`: it answers calls over a socket."""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from retrieval.sharding.index_shard import IndexShard, reply_of
from retrieval.sharding.thread_host import THREADS


def main(number: int) -> None:
    """Answers until the other end of the socket, which is open under a number, is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is meant for the process that started it
    connection, shard, sending = Connection(number), IndexShard(), threading.Lock()

    def answer(call: int, method: str, arguments: tuple[Any, ...]) -> None:
        reply = reply_of(shard, method, arguments)
        with sending, suppress(OSError):
            connection.send((call, reply))

    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            try:
                received = connection.recv()
            except (EOFError, OSError):
                break
            pool.submit(answer, *received)


if __name__ == "__main__":
    main(int(sys.argv[1]))
