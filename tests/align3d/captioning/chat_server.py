"""A local server that speaks OpenAI's chat completions, with every fault that such a server can have."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Say = Callable[[dict[str, Any], int], "Said | str"]
"""What the server says to a body, which is its nth request from 0."""


@dataclass
class Said:
    """An answer of the server.

    Attributes:
        text: The model's words.
        code: Status.
        finish: Why the model stopped.
        headers: Further headers.
        body: The whole body, in place of one with the text.
        cut: Send so many bytes of the body and close the connection.
        wait: Seconds before it is sent.
        usage: Whether tokens are counted.
    """

    text: Any = ""
    code: int = 200
    finish: str | None = "stop"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    wait: float = 0.0
    usage: bool = True

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.text}
        content: dict[str, Any] = {"choices": [{"message": message, "finish_reason": self.finish}]}
        if self.usage:
            content["usage"] = {"prompt_tokens": 1000, "completion_tokens": 100}
        return json.dumps(content).encode()


@dataclass
class ChatServer:
    """The server while it runs.

    Attributes:
        url: Its address.
        bodies: What it was asked, in order.
        keys: The authorizations that came with that.
        times: When (monotonic seconds).
        most: Largest number of requests that were open at once.
    """

    say: Say
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.keys.append(handler.headers.get("Authorization"))
            self.times.append(time.monotonic())
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            said = self.say(body, number)
            said = Said(said) if isinstance(said, str) else said
            time.sleep(said.wait)
            data = said.bytes()
            handler.send_response(said.code)
            for name, value in said.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data if said.cut is None else data[: said.cut])
            if said.cut is not None:
                handler.wfile.flush()
                handler.close_connection = True
                handler.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client has gone
            handler.close_connection = True
        finally:
            with self.lock:
                self.now -= 1


@contextmanager
def chat_server(say: Say) -> Iterator[ChatServer]:
    """Run a server that says what a function says."""
    server = ChatServer(say)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            server.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def question(body: dict[str, Any]) -> str:
    """The text of what was asked."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def pictures(body: dict[str, Any]) -> list[str]:
    """Addresses of the pictures of what was asked."""
    content = body["messages"][0]["content"]
    return [] if isinstance(content, str) else [part["image_url"]["url"] for part in content[1:]]
