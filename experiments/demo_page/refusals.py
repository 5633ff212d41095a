"""Refusals: requests that are answered by one sentence, which the page shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from align3d.errors import UserError

LARGEST_BODY = 64 * 1024
"""Bytes of a request's JSON, at most."""
_Body = TypeVar("_Body", bound=BaseModel)


class RefusedRequest(UserError):
    """A request that is not answered.

    Attributes:
        status: Number of HTTP's.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def body_of(request: Request, kind: type[_Body]) -> _Body:
    """The request's JSON.

    Args:
        request: Any.
        kind: Model that it has to fit.

    Raises:
        RefusedRequest: It does not fit, is too large, or is no JSON by its type.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise RefusedRequest("expected application/json", 415)
    content = await bytes_of(request, LARGEST_BODY)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise RefusedRequest(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


async def bytes_of(request: Request, most: int) -> bytes:
    """The request's body; nothing above ``most`` bytes is kept.

    Raises:
        RefusedRequest: It is larger.
    """
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise RefusedRequest(f"larger than {_size(most)}, which is the most that is read", 413)
        parts.append(part)
    return b"".join(parts)


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedRequest) else 400
    return JSONResponse({"error": str(error)}, status)


async def _missing(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": f"{getattr(error, 'detail', 'not found')}: load the page anew"}, status)


async def _failed(_: Request, error: Exception) -> Response:
    said = f"the server could not do that ({type(error).__name__}); what went wrong stands in its terminal"
    return JSONResponse({"error": said}, 500)


HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    UserError: _refused,
    404: _missing,
    405: _missing,
    Exception: _failed,
}
"""What Starlette answers by, by what was raised; a bug's trace goes to stderr, and the server goes on."""


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count / 2**10:.0f} KB"
