"""Local web server of a review: a page, its scripts, and a few requests of JSON.

It is the standard library's: one person's few small requests need no framework, and the package none of its
dependencies. It listens on the loopback interface alone. Every path begins with a token that only the address
which the command prints has, so that other users of the machine and other pages of the browser see nothing.
The ``Host`` header must be the address itself (a foreign name that resolves to this machine is refused: DNS
rebinding), and what changes something must come from the page (``Origin``).
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from align3d.reviewing.review_session import RefusedRequest, ReviewSession
from durable.errors import UserError

LARGEST_BODY = 64 * 1024
"""Bytes of a request's body, at most."""
_PATIENCE = 30.0
"""Seconds for which a connection may say nothing."""
_ASSETS = {
    "": ("review.html", "text/html; charset=utf-8"),
    "review.css": ("review.css", "text/css; charset=utf-8"),
    "review.js": ("review.js", "text/javascript; charset=utf-8"),
    "cloud.js": ("cloud.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_BINARY = "application/octet-stream"


class _Undo(BaseModel):
    """Body of ``undo``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seen: int


class _Decide(_Undo):
    """Body of ``decide``; see `ReviewSession.decide`."""

    place: int
    item: Annotated[str, Field(max_length=10_000)]
    action: str
    caption: str = ""
    text: str = ""
    reason: str = ""


class ReviewServer(ThreadingHTTPServer):
    """Server of one reviewer's session; it listens when it is made and answers in ``serve_forever``.

    Args:
        session: What it serves.
        port: Port on the loopback interface; 0: one that is free.

    Attributes:
        url: Address of the page, with its token.

    Raises:
        UserError: The port is taken, or not allowed.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, session: ReviewSession, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UserError(
                f"port={port}: cannot be listened on ({error.strerror}); choose another, or 0 for any"
            ) from error
        self.session, self.token = session, secrets.token_urlsafe(24)
        port = self.server_address[1]
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.url = f"http://{self.hosts[0]}/{self.token}/"
        folder = resources.files("align3d.reviewing") / "page"
        self.assets = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _ASSETS.items()}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks off is no fault; others have an answer of their own."""


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "align3d", ""
    timeout: ClassVar[float] = _PATIENCE  # type: ignore[misc]

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the token stands in every path."""

    def _answer(self, respond: Callable[[str], tuple[bytes, str]]) -> None:
        """Send what a request asks for, or why it does not get it."""
        status: int = HTTPStatus.OK
        try:
            body, kind = respond(self._path())
        except RefusedRequest as error:
            status, (body, kind) = error.status, _json({"error": str(error)})
        except UserError as error:  # a full disk
            status, (body, kind) = HTTPStatus.INSUFFICIENT_STORAGE, _json({"error": str(error)})
        except OSError as error:
            said = f"{error.filename or 'the file'}: {error.strerror}; nothing was decided"
            status, (body, kind) = HTTPStatus.INTERNAL_SERVER_ERROR, _json({"error": said})
        if status != HTTPStatus.OK:
            self.close_connection = True  # a body may be unread
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _path(self) -> str:
        """Path behind the token.

        Raises:
            RefusedRequest: The host or the token is another, or another page asks.
        """
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            raise RefusedRequest("this server has another name", HTTPStatus.MISDIRECTED_REQUEST)
        start, _, path = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(start.encode("latin-1", "replace"), self.server.token.encode()):
            raise RefusedRequest("not found; open the address that the command printed", HTTPStatus.NOT_FOUND)
        own = ("same-origin", "none") if path == "" else ("same-origin",)
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in own:
            raise RefusedRequest(
                "another site asks; copy the address into the browser yourself", HTTPStatus.FORBIDDEN
            )
        return path

    def _get(self, path: str) -> tuple[bytes, str]:
        session = self.server.session
        if path in self.server.assets:
            return self.server.assets[path]
        if path == "api/session":
            return _json(session.overview())
        what, _, number = path.partition("/")[2].partition("/")
        if path.startswith("api/") and _is_count(number):
            if what == "shape":
                return _json(session.shape(int(number)))
            if what == "points":
                return session.points(int(number)), _BINARY
        raise RefusedRequest("not found", HTTPStatus.NOT_FOUND)

    def _post(self, path: str) -> tuple[bytes, str]:
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            raise RefusedRequest("another site asks", HTTPStatus.FORBIDDEN)
        session, body = self.server.session, self._body()
        try:
            if path == "api/decide":
                return _json(session.decide(**_Decide.model_validate_json(body).model_dump()))
            if path == "api/undo":
                return _json(session.undo(_Undo.model_validate_json(body).seen))
        except ValidationError as error:
            first = error.errors()[0]
            raise RefusedRequest(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from error
        raise RefusedRequest("not found", HTTPStatus.NOT_FOUND)

    def _body(self) -> bytes:
        """The request's body.

        Raises:
            RefusedRequest: It is no JSON by its type, or too large, or its length is not said.
        """
        if self.headers.get_content_type() != "application/json":
            raise RefusedRequest("expected application/json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not _is_count(lengths[0]):
            raise RefusedRequest("expected one Content-Length", HTTPStatus.LENGTH_REQUIRED)
        if int(lengths[0]) > LARGEST_BODY:
            raise RefusedRequest(
                f"expected at most {LARGEST_BODY:,} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            )
        return self.rfile.read(int(lengths[0]))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _json(content: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(content).encode(), "application/json"
