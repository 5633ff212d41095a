"""Routes of a served index, a Starlette application: who may ask, within which limits, and the answers."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from durable.errors import NoSpaceError
from experiments.console.local_server import name_in
from experiments.index_server.protocol import ServedIndex
from experiments.index_server.query_batcher import BusyError, QueryBatcher
from experiments.index_server.serve_options import ServeOptions
from experiments.index_server.service_metrics import ServiceMetrics
from retrieval import Between, ShardDownError
from retrieval.validation import check_vectors

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_RETRY_SECONDS = "1"
READ, CHANGES = ("health", "metrics"), ("add", "update", "upsert", "remove")
Work = Callable[[Request], Awaitable[Response]]
Id = Annotated[int, Field(ge=0, le=2**63 - 1)]
Value = str | int | float


class _Range(BaseModel):
    """A range in a filter, both ends within."""

    model_config = ConfigDict(extra="forbid", strict=True)

    low: float | int = float("-inf")
    high: float | int = float("inf")


class _Search(BaseModel):
    """Body of ``search``: vectors or words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    vectors: list[list[float]] | None = None
    text: str | None = Field(None, max_length=10_000)
    k: int = Field(10, ge=1)
    where: dict[str, _Range | Value | list[Value]] | str | None = None


class _Change(BaseModel):
    """Body of ``add``, ``update``, ``upsert`` and ``remove``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[Id]
    vectors: list[list[float]] | None = None
    metadata: dict[str, list[Value]] | None = None


class _RefusedError(Exception):
    """A request that is not done: its status and a line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class IndexRoutes:
    """The routes of a server.

    Args:
        index: What is served.
        options: Limits.
        batcher: That searches.
        metrics: That are counted.
        token: That requests must name; None asks for none.
        names: By which this machine may be addressed; None for any (a token keeps others out).
    """

    def __init__(
        self,
        index: ServedIndex,
        options: ServeOptions,
        batcher: QueryBatcher,
        metrics: ServiceMetrics,
        token: str | None,
        names: Collection[str] | None,
    ) -> None:
        self._index, self._options, self._batcher, self._metrics = index, options, batcher, metrics
        self._token, self._names = token, names

    def app(self) -> Starlette:
        """The application."""
        work = {"health": self._health, "metrics": self._measured, "search": self._search}
        work |= {what: partial(self._change, what) for what in CHANGES}
        routes = [
            Route(f"/{name}", self._answered(name, own), methods=["GET" if name in READ else "POST"])
            for name, own in work.items()
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _unknown})

    def _answered(self, route: str, work: Work) -> Work:
        """A route whose mistakes are answered by one line, and which is counted."""

        async def answer(request: Request) -> Response:
            begun, status = time.perf_counter(), 500
            try:
                response = await self._answer(request, work)
                status = response.status_code
            finally:
                self._metrics.requests.labels(route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)
            return response

        return answer

    async def _answer(self, request: Request, work: Work) -> Response:
        try:
            self._check_access(request)
            return await work(request)
        except _RefusedError as error:
            return _told(error.status, error)
        except (BusyError, ShardDownError) as error:
            return _told(503, error, {"Retry-After": _RETRY_SECONDS})
        except NoSpaceError as error:
            return _told(507, error)
        except ValueError as error:
            return _told(400, error)

    def _check_access(self, request: Request) -> None:
        hosts = request.headers.getlist("host")
        if self._names is not None and (len(hosts) != 1 or name_in(hosts[0]) not in self._names):
            raise _RefusedError(421, "this server has another name")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise _RefusedError(403, "another site asks")
        if self._token is None or request.url.path == "/health":
            return
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise _RefusedError(401, "expected the header Authorization: Bearer TOKEN of this server")

    async def _health(self, _: Request) -> Response:
        live = self._index.live()
        down = [shard for shard, count in enumerate(live) if not count]
        content = {"status": "down" if down else "ok", "vectors": len(self._index), "live": live}
        return JSONResponse(content, 503 if down else 200)

    async def _measured(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=_PROMETHEUS)

    async def _search(self, request: Request) -> Response:
        body = await _body(request, _Search, self._options.most_bytes)
        most = min(self._options.most_k, len(self._index))
        if body.k > most:
            raise _RefusedError(400, f"k={body.k}: expected at most {most}")
        if (body.vectors is None) == (body.text is None):
            raise _RefusedError(400, "give one of vectors (a list of lists of numbers) and text")
        if body.text is not None:
            if isinstance(body.where, dict):
                raise _RefusedError(400, "where: expected a text beside text, such as category=Chair*")
            answers = await self._batcher.run(self._index.search_words, body.text, body.k, body.where)
            return JSONResponse(answers)
        if isinstance(body.where, str):
            raise _RefusedError(400, "where: expected an object beside vectors: a condition for each column")
        queries = _vectors(body.vectors, self._index.width)
        where = {name: _condition(given) for name, given in (body.where or {}).items()}
        key = json.dumps(body.model_dump(mode="json", include={"where"}), sort_keys=True)
        ids, scores = await self._batcher.search(queries, body.k, where, key)
        return JSONResponse({"ids": _found(ids, ids), "scores": _found(scores, ids)})

    async def _change(self, what: str, request: Request) -> Response:
        if not self._index.takes_changes:
            raise _RefusedError(405, "this index takes no changes; serve one of shards (docs/serving.md)")
        body = await _body(request, _Change, self._options.most_bytes)
        ids = np.array(body.ids, np.int64)
        if what == "remove":
            if body.vectors is not None or body.metadata is not None:
                raise _RefusedError(400, "remove takes ids alone")
            arguments: tuple[Any, ...] = (ids,)
        else:
            bare = what == "update" and body.vectors is None
            vectors = None if bare else _vectors(body.vectors, self._index.width)
            arguments = (vectors, ids, body.metadata)
        await self._batcher.run(self._index.change, what, *arguments, changes=True)
        return JSONResponse({"vectors": len(self._index)})


def _told(status: int, error: Exception, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": str(error)}, status, headers)


async def _unknown(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    allowed = error.headers if isinstance(error, HTTPException) else None
    said = "expected search, add, update, upsert or remove (POST), health or metrics (GET)"
    return JSONResponse({"error": said}, status, allowed)


async def _body(request: Request, kind: type[Any], most: int) -> Any:
    """The request's JSON as a model; nothing above ``most`` bytes is kept."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _RefusedError(415, "expected application/json")
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _RefusedError(413, f"larger than {most:,} bytes, which is the most that is read")
        parts.append(part)
    try:
        return kind.model_validate_json(b"".join(parts))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise _RefusedError(400, f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _vectors(given: list[list[float]] | None, width: int) -> NDArray[np.float32]:
    """Vectors ``[n, D]`` of a request; ValueError as the index's."""
    if not given:
        raise _RefusedError(400, f"vectors: expected at least one, {width} numbers each")
    return check_vectors(given, "vectors", width)  # type: ignore[arg-type]  # it makes an array of lists


def _found(values: NDArray[Any], ids: NDArray[np.int64]) -> list[list[Any]]:
    """The values ``[Q, k]`` of answers that are there, by query."""
    return [row[own >= 0].tolist() for row, own in zip(values, ids, strict=True)]


def _condition(given: Any) -> Any:
    return Between(given.low, given.high) if isinstance(given, _Range) else given
