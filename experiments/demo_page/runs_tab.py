"""Tab of runs: several of them side by side."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.query_numbers import whole_numbers
from experiments.demo_views.side_by_side import RunsView, neighbors


def _routes(demo: Demo) -> Sequence[Route]:
    view = RunsView([demo.run, *demo.runs] if demo.runs else neighbors(demo.run))

    async def listing(_: Request) -> Response:
        return JSONResponse(await demo.work.run(view.listing))

    async def compared(request: Request) -> Response:
        return JSONResponse(await demo.work.run(view.compared, whole_numbers(request, "runs")))

    return [Route("/list", listing), Route("/compared", compared)]


RUNS_TAB = Tab("runs", "Runs", _routes)
