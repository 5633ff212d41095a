"""Numbers in the address of a request."""

from __future__ import annotations

import re

from starlette.requests import Request

from experiments.demo_page.refusals import RefusedRequest

_WHOLE = re.compile(r"-?[0-9]{1,9}")


def whole_number(request: Request, name: str, default: int) -> int:
    """A whole number behind the ``?`` of an address.

    Args:
        request: Any.
        name: Of the number.
        default: Where it is not there.

    Raises:
        RefusedRequest: It is no whole number of at most nine digits.
    """
    said = request.query_params.get(name)
    if said is None:
        return default
    if not _WHOLE.fullmatch(said):
        raise RefusedRequest(f"{name}={said[:20]}: expected a whole number")
    return int(said)


def whole_numbers(request: Request, name: str) -> list[int]:
    """Whole numbers with commas between them; none where there is nothing of the name.

    Raises:
        RefusedRequest: One of them is no whole number.
    """
    said = request.query_params.get(name, "")
    parts = said.split(",") if said else []
    if not all(_WHOLE.fullmatch(part) for part in parts):
        raise RefusedRequest(f"{name}={said[:20]}: expected whole numbers with commas between them")
    return [int(part) for part in parts]
