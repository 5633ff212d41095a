"""Tab of the map: the tree of the index, its shapes, and its health."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.query_numbers import whole_number
from experiments.demo_views.index_map import IndexMap


def _routes(demo: Demo) -> Sequence[Route]:
    chart = IndexMap(demo.searcher, demo.index)

    def place(request: Request) -> tuple[int, int]:
        return whole_number(request, "level", -1), whole_number(request, "node", 0)

    async def node(request: Request) -> Response:
        return JSONResponse(await demo.work.run(chart.node, *place(request)))

    async def shapes(request: Request) -> Response:
        start = whole_number(request, "start", 0)
        return JSONResponse(await demo.work.run(chart.shapes, *place(request), start))

    async def health(_: Request) -> Response:
        return JSONResponse(await demo.work.run(chart.health))

    return [Route("/node", node), Route("/shapes", shapes), Route("/health", health)]


MAP_TAB = Tab("map", "Map", _routes)
