"""Access to the page: who may ask, and the headers that browsers get with every answer.

Every path begins with a token that only the printed address has, so that other users of the machine and of
its network see nothing. The ``Host`` header must name this machine (a foreign name that resolves to it is
refused: DNS rebinding), and what is sent to it must come from the page (``Origin``).
"""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.console.local_server import name_in

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Access:
    """Middleware that lets through what comes from the page itself, with the token taken from its path.

    Args:
        app: What answers.
        token: First part of every path.
        names: Names and addresses of this machine that requests may be addressed to, in lower case.
    """

    def __init__(self, app: ASGIApp, token: str, names: Collection[str]) -> None:
        self._app, self._token, self._names = app, token.encode(), frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there is nothing else here: the server closes the connection

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        start, slash, path = scope["path"].removeprefix("/").partition("/")
        refused = self._refused(scope, start, path)
        if refused is None and not slash:
            refused = RedirectResponse(f"/{start}/")
        if refused is not None:
            await refused(scope, receive, send_with_headers)
            return
        inner = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}
        await self._app(inner, receive, send_with_headers)

    def _refused(self, scope: Scope, token: str, path: str) -> Response | None:
        """The answer to a request that is not let through; None to the others."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or name_in(hosts[0]) not in self._names:
            return PlainTextResponse("this server has another name; open the address that it printed", 421)
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return PlainTextResponse("not found; open the address that the command printed", 404)
        own = ("same-origin", "none") if path == "" else ("same-origin",)
        if headers.get("sec-fetch-site", "same-origin") not in own:
            return PlainTextResponse("another site asks; copy the address into the browser yourself", 403)
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"http://{hosts[0]}":
            return JSONResponse({"error": "another site asks"}, 403)
        return None
