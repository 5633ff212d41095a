"""Tab of calibrations: an agent calibrates a query's attention while somebody looks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.query_numbers import whole_number
from experiments.demo_page.refusals import RefusedRequest, body_of
from experiments.demo_page.visitors import Visitor
from experiments.demo_views.calibration_sessions import BusyError, CalibrationSessions, UnknownSessionError
from experiments.demo_views.watched_calibration import MOST_BUDGET, Wish, choices

NAME = "calibrate"


class CalibrationWish(BaseModel):
    """Body of ``start``; see `Wish`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, Field(max_length=2000)]
    agent: Annotated[str, Field(max_length=100)]
    budget: int = 64
    label: int | None = None
    seed: int = 0


def _routes(demo: Demo) -> Sequence[Route]:
    sessions = CalibrationSessions(demo.searcher)
    demo.closing.append(sessions.close)
    header = demo.searcher.library.header

    def begin(visitor: Visitor, wish: Wish) -> dict[str, Any]:
        with visitor.lock:
            started = sessions.start(wish, visitor.state.get(NAME))
            visitor.state[NAME] = started.pop("session")
            return started

    def own(request: Request) -> str:
        session = demo.visitor(request).state.get(NAME)
        if session is None:
            raise UnknownSessionError("nothing was calibrated on this page yet")
        return str(session)

    async def offered(_: Request) -> Response:
        return JSONResponse(
            {"agents": [asdict(choice) for choice in choices(demo.searcher)], "most_budget": MOST_BUDGET}
        )

    async def known_caption(request: Request) -> Response:
        row = whole_number(request, "row", 0) % len(header.ids)
        return JSONResponse({"row": row, "caption": header.captions[row][0]})

    async def start(request: Request) -> Response:
        asked = await body_of(request, CalibrationWish)
        visitor = demo.visitor(request)
        try:
            started = await demo.work.run(begin, visitor, Wish(**asked.model_dump()))
        except BusyError as error:
            raise RefusedRequest(str(error), 503) from error
        return JSONResponse(started)

    async def progress(request: Request) -> Response:
        nodes, frames = (whole_number(request, name, 0) for name in ("nodes", "frames"))
        try:
            return JSONResponse(sessions.progress(own(request), nodes, frames))
        except UnknownSessionError as error:
            raise RefusedRequest(str(error), 404) from error

    async def cancel(request: Request) -> Response:
        sessions.cancel(own(request))
        return JSONResponse({})

    return [
        Route("/agents", offered),
        Route("/caption", known_caption),
        Route("/start", start, methods=["POST"]),
        Route("/progress", progress),
        Route("/cancel", cancel, methods=["POST"]),
    ]


CALIBRATE_TAB = Tab(NAME, "Calibrate", _routes)
