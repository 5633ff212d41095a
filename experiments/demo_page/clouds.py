"""Clouds of shapes as the page draws them: few bytes a point, many shapes in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from experiments.demo_page.refusals import RefusedRequest

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Searcher

MOST_ROWS, POINTS = 64, 1024
LARGEST = 32767


def rows_of(request: Request, searcher: Searcher) -> tuple[list[int], int]:
    """Rows of the shapes that a request asks for, as in ``?rows=3,1&points=512``, and of how many points.

    Raises:
        RefusedRequest: There are no such shapes, or too many at once.
    """
    said = request.query_params.get("rows", "").split(",")
    rows = [int(one) for one in said if one.isascii() and one.isdecimal() and len(one) < 10]
    if len(rows) != len(said) or len(rows) > MOST_ROWS or max(rows) >= len(searcher):
        raise RefusedRequest(
            f"rows: expected 1 to {MOST_ROWS} numbers below {len(searcher):,}, with commas between them"
        )
    points = request.query_params.get("points", str(POINTS))
    if not (points.isascii() and points.isdecimal() and 1 <= len(points) < 6 and int(points)):
        raise RefusedRequest(f"points={points[:20]}: expected a whole number from 1")
    return rows, int(points)


def cloud_bytes(searcher: Searcher, rows: Sequence[int], points: int) -> bytes:
    """Shapes one behind the other, each its points int16 ``[P, 3]``, then its colors uint8 ``[P, 3]``.

    Little-endian, z up, the unit sphere's radius at `LARGEST`. A library may have fewer points than are
    asked for.
    """
    clouds, colors = searcher.clouds(rows)
    return b"".join(packed(cloud[:points], own[:points]) for cloud, own in zip(clouds, colors, strict=True))


def packed(cloud: NDArray[np.floating], colors: NDArray[np.uint8]) -> bytes:
    """One shape, see `cloud_bytes`."""
    places = (LARGEST * np.clip(cloud, -1, 1)).round().astype("<i2")
    return places.tobytes() + colors.astype(np.uint8).tobytes()
