"""Server of the page: Starlette's routes behind uvicorn, on one socket, for as many visitors as come."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import TracebackType

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from experiments.console.local_server import LOOPBACK, LOOPBACK_NAMES, bound_socket, is_loopback
from experiments.console.web_server import BACKLOG, web_server
from experiments.demo_page.access import Access
from experiments.demo_page.clouds import cloud_bytes, rows_of
from experiments.demo_page.demo_state import Demo
from experiments.demo_page.refusals import HANDLERS
from experiments.demo_page.tabs import TABS

_ANYWHERE = ("0.0.0.0", "::", "")


class DemoServer:
    """Server of a run's page; it listens when it is made and answers in `serve`.

    Args:
        demo: What is shown.
        host: Address or name of this machine.
        port: Port; 0: one that is free.
        token: First part of every path; None makes one.
        bound: What `bound_socket` gave for the host and the port; None: that is called.

    Attributes:
        url: Address of the page, with its token.

    Raises:
        UserError: The host or the port cannot be listened on.
    """

    def __init__(
        self,
        demo: Demo,
        host: str = LOOPBACK,
        port: int = 0,
        token: str | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        self._demo, token = demo, token or secrets.token_urlsafe(24)
        self._socket = bound or bound_socket(host, port)
        self._socket.listen(BACKLOG)  # who asks from now on waits for `serve`
        names = names_of(host)
        shown = host if host not in _ANYWHERE else socket.gethostname()
        shown = f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}/{token}/"
        self._server = web_server(app_of(demo, token, names))

    def __enter__(self) -> DemoServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        for close in self._demo.closing:
            close()
        self._demo.work.close()

    def serve(self) -> None:
        """Answers until `stop` is called; in the main thread also until Ctrl-C, which is raised then."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Has `serve` end."""
        self._server.should_exit = True


def app_of(demo: Demo, token: str, names: frozenset[str]) -> Starlette:
    """The page and its tabs as an application.

    Args:
        demo: What is shown.
        token: First part of every path.
        names: Of this machine, see `Access`.
    """

    async def described(_: Request) -> Response:
        header = demo.searcher.library.header
        return JSONResponse(
            {
                "run": demo.run.resolve().name,
                "data": header.name,
                "shapes": len(demo.searcher),
                "tabs": [{"name": tab.name, "title": tab.title} for tab in TABS],
            }
        )

    async def clouds(request: Request) -> Response:
        rows, points = rows_of(request, demo.searcher)
        content = await asyncio.to_thread(cloud_bytes, demo.searcher, rows, points)
        return Response(content, media_type="application/octet-stream")

    page = Path(str(resources.files("experiments.demo_page") / "page"))
    shared = {
        "cloud.js": resources.files("align3d.reviewing") / "page" / "cloud.js",
        "attention_colors.js": resources.files("experiments.reporting") / "attention_colors.js",
    }

    def file_route(path: str, file: Path) -> Route:
        async def send(_: Request) -> Response:
            return FileResponse(file)

        return Route(path, send)

    return Starlette(
        routes=[
            file_route("/", page / "index.html"),
            *(file_route(f"/page/{name}", Path(str(file))) for name, file in shared.items()),
            Mount("/page", StaticFiles(directory=page)),
            Route("/api/page", described),
            Route("/api/clouds", clouds),
            *(Mount(f"/api/{tab.name}", routes=list(tab.routes(demo))) for tab in TABS),
        ],
        middleware=[Middleware(Access, token=token, names=names)],
        exception_handlers=HANDLERS,
    )


def names_of(host: str) -> frozenset[str]:
    """Names and addresses, in lower case, by which browsers may ask for what is served on a host."""
    if is_loopback(host):
        return frozenset((*LOOPBACK_NAMES, host.strip("[]").lower()))
    if host not in _ANYWHERE:
        return frozenset((host.strip("[]").lower(),))
    name = socket.gethostname()
    found = {*LOOPBACK_NAMES, name, socket.getfqdn()}
    with suppress(OSError):  # of a machine that does not know its own name
        found |= {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    return frozenset(one.lower() for one in found | _addresses())


def _addresses() -> set[str]:
    """Addresses from which this machine would speak to others; nothing is sent to find them."""
    found = set()
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.add(str(probe.getsockname()[0]))
        except OSError:
            continue  # no network of that kind
    return found
