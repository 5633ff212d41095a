"""Web server of a command: uvicorn on one socket, without a log, that ends soon after it is asked to."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 256
"""Connections that may wait to be taken."""
_LEAVE_SECONDS = 3
"""Seconds that open connections have to end in."""


def web_server(app: ASGIApp) -> uvicorn.Server:
    """A server that answers by ``app``; ``run(sockets=[…])`` begins, ``should_exit`` ends it."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,  # addresses may hold a token
        server_header=False,
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=_LEAVE_SECONDS,
    )
    return uvicorn.Server(config)
