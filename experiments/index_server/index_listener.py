"""The server of an index: uvicorn on one socket, from the settings of the command."""

from __future__ import annotations

import secrets
from types import TracebackType

from experiments.console.local_server import LOOPBACK_NAMES, bound_socket, is_loopback
from experiments.console.web_server import BACKLOG, web_server
from experiments.index_server.index_routes import IndexRoutes
from experiments.index_server.protocol import ServedIndex
from experiments.index_server.query_batcher import QueryBatcher
from experiments.index_server.serve_options import ServeOptions
from experiments.index_server.service_metrics import ServiceMetrics


class IndexListener:
    """Server of an index; it listens when it is made and answers in `serve`.

    Args:
        index: What is served.
        options: Host, port, token and limits.

    Attributes:
        url: Its address.
        token: That requests must name; None where none is asked for.

    Raises:
        UserError: The host or the port cannot be listened on.
    """

    def __init__(self, index: ServedIndex, options: ServeOptions) -> None:
        alone = is_loopback(options.host)
        self.token = options.token or (None if alone else secrets.token_urlsafe(24))
        self._index, metrics = index, ServiceMetrics(index)
        self._batcher = QueryBatcher(
            index.search, options.batch, options.most_waiting, on_batch=metrics.batches.observe
        )
        metrics.batcher = self._batcher
        names = {*LOOPBACK_NAMES, options.host.strip("[]").lower()} if alone else None
        app = IndexRoutes(index, options, self._batcher, metrics, self.token, names).app()
        self._socket = bound_socket(options.host, options.port)
        self._socket.listen(BACKLOG)  # who asks from now on waits for `serve`
        shown = options.host if ":" not in options.host.strip("[]") else f"[{options.host.strip('[]')}]"
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}/"
        self._server = web_server(app)

    def __enter__(self) -> IndexListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._batcher.close()
        self._index.close()

    def serve(self) -> None:
        """Answers until `stop` is called; in the main thread also until Ctrl-C, which is raised then."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Has `serve` end."""
        self._server.should_exit = True
