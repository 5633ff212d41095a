"""Benchmark of a run's page: how long people wait for answers while many of them ask at once."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from align3d.errors import UserError
from experiments.benchmarks.base import Row, benchmark

_QUANTILES = (50, 95, 99)
_ANSWERS = 20
_PATIENCE = 600.0


@benchmark("demo")
def demo_load(
    run: Path | None = None,
    users: tuple[int, ...] = (1, 20),
    queries: int = 20,
    think: float = 0.0,
    threads: int | None = None,
    seed: int = 0,
) -> Iterator[Row]:
    """Page of a run under load: seconds until it is up, milliseconds for a text query and its clouds.

    Each user asks with captions of the run's shapes, waits for the answer and its twenty clouds as the page
    does, looks at them, and asks again.

    Args:
        run: Folder of a finished run, whose library is made already.
        users: Numbers of users who ask at once.
        queries: Queries of each.
        think: Seconds that a user looks at the answers.
        threads: Of the server; None: as many as there are cores.
        seed: Chooses the queries.
    """
    if run is None:
        raise UserError("run=FOLDER is missing: the folder of a finished run")
    with _served(run, threads) as (address, seconds, server):
        visitor = _Visitor(address)
        shapes = visitor.get("api/page")["shapes"]
        case = f"{shapes:,} shapes"
        yield Row("demo", case, "s until the page is up", seconds, higher_is_better=False)
        yield Row("demo", case, "s of a core until then", _spent(server), higher_is_better=False)
        draw = random.Random(seed)
        for count in users:
            asked = [[draw.randrange(shapes) for _ in range(queries)] for _ in range(count)]
            words = [
                [visitor.get(f"api/search/shape/{row}")["captions"][0] for row in rows] for rows in asked
            ]
            visitor.ask(words[0][0])
            start, worked = time.perf_counter(), _spent(server)
            with ThreadPoolExecutor(count) as pool:
                times = np.concatenate(list(pool.map(lambda own: _session(address, own, think), words)))
            spent, worked = time.perf_counter() - start, _spent(server) - worked
            place = f"{case}, {count} user{'s' if count > 1 else ''}"
            for name, column in (("a text query", 0), ("its clouds", 1)):
                for quantile in _QUANTILES:
                    found = 1e3 * float(np.percentile(times[:, column], quantile))
                    yield Row("demo", place, f"ms for {name}, p{quantile}", found, higher_is_better=False)
            each = 1e3 * worked / len(times)
            yield Row("demo", place, "ms of a core for both", each, higher_is_better=False)
            yield Row("demo", place, "queries/s", len(times) / spent)


def _session(address: str, words: list[str], think: float) -> np.ndarray:
    """Seconds of each query and of its clouds, ``[queries, 2]``."""
    visitor = _Visitor(address)
    times = []
    for query in words:
        times.append(visitor.ask(query))
        time.sleep(think)
    return np.array(times)


class _Visitor:
    """An open page: it keeps a connection, as browsers do.

    Args:
        address: Of the page.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._base, self._host = parts.path, parts.netloc
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE)
        self._name = secrets.token_hex(16)

    def get(self, path: str) -> dict:
        """JSON of a path."""
        return json.loads(self._send("GET", path))

    def ask(self, query: str) -> tuple[float, float]:
        """Seconds until a query is answered, and then until its clouds are there."""
        start = time.perf_counter()
        body = json.dumps({"query": query, "k": _ANSWERS}).encode()
        found = json.loads(self._send("POST", "api/search/find", body))
        answered = time.perf_counter()
        rows = ",".join(str(answer["row"]) for answer in found["answers"])
        self._send("GET", f"api/clouds?rows={rows}")
        return answered - start, time.perf_counter() - answered

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {
            "Origin": f"http://{self._host}",
            "X-Visitor": self._name,
            "Content-Type": "application/json",
        }
        self._connection.request(method, self._base + path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise UserError(f"demo: {path} was answered by {answer.status}: {content[:200].decode()}")
        return content


def _spent(process: int) -> float:
    """Seconds of all cores that a process has used; NaN where the system does not say (Linux alone does)."""
    path = Path(f"/proc/{process}/stat")
    if not path.exists():
        return math.nan
    user, system = path.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _served(run: Path, threads: int | None) -> Iterator[tuple[str, float, int]]:
    """The address of a run's page that the real command serves, seconds until it was up, and its process.

    Raises:
        UserError: The command ended before.
    """
    start = time.perf_counter()
    words = [f"run={run}", *([] if threads is None else [f"threads={threads}"])]
    command = [sys.executable, "-m", "experiments.demo", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                address = next((word for word in line.split() if word.startswith("http://")), None)
                if address is not None:
                    _Visitor(address).get("api/page")
                    yield address, time.perf_counter() - start, process.pid
                    return
            raise UserError(f"run={run}: the page did not come up; what is wrong stands above")
        finally:
            process.terminate()
