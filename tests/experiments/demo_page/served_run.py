"""A page of a run that is served in a thread, and requests to it as a browser sends them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from experiments.demo_page.demo_server import DemoServer
from experiments.demo_page.demo_state import Demo
from experiments.demo_page.work_queue import WorkQueue
from experiments.shape_search.searcher import Searcher

VISITOR = "0123456789abcdef" * 2


class ServedRun:
    """A server that answers, and what it is asked.

    Attributes:
        server: The server.
        demo: What it shows.
    """

    def __init__(self, server: DemoServer, demo: Demo) -> None:
        self.server, self.demo = server, demo
        parts = urlsplit(server.url)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self.token = parts.path.strip("/")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        base = {"Host": f"127.0.0.1:{self.port}", "X-Visitor": VISITOR}
        if method == "POST":
            base |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, f"/{token or self.token}/{path}", content, base | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """Answer to JSON, which has to be a good one."""
        status, content, _ = self.ask("POST", path, body, headers)
        assert status == 200, content
        return json.loads(content)

    def refused(self, path: str, body: Any, status: int = 400, **headers: str) -> str:
        """The sentence by which a request is refused."""
        found, content, _ = self.ask("POST", path, body, headers)
        assert found == status, content
        return json.loads(content)["error"]


@contextmanager
def serving(demo: Demo, **settings: Any) -> Iterator[ServedRun]:
    """A server that answers in a thread until the end."""
    with DemoServer(demo, **settings) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield ServedRun(server, demo)
        finally:
            server.stop()
            thread.join()


@contextmanager
def serving_run(run: Any, **settings: Any) -> Iterator[ServedRun]:
    """A run's page."""
    with serving(Demo(run, Searcher(run), WorkQueue(2)), **settings) as served:
        yield served
