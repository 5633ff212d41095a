"""Tab of searches: words and a filter in, ranked shapes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.refusals import RefusedRequest, body_of
from experiments.shape_search.answers import Answers

MOST_ANSWERS = 60
LONGEST_QUERY = 2000


class SearchWords(BaseModel):
    """Body of a search.

    Attributes:
        query: The words.
        k: How many shapes; fewer where there are not as many.
        where: Filter, see `experiments.shape_search.where_filters`; empty without one.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)]
    k: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] = 20
    where: Annotated[str, Field(max_length=LONGEST_QUERY)] = ""


def _routes(demo: Demo) -> Sequence[Route]:
    searcher = demo.searcher
    header = searcher.library.header

    async def find(request: Request) -> Response:
        asked = await body_of(request, SearchWords)
        count = min(asked.k, len(searcher))
        found = await demo.work.run(searcher.search, asked.query, count, asked.where.strip() or None)
        return JSONResponse(plain_answers(found))

    async def filters(_: Request) -> Response:
        counts = Counter(header.categories)
        return JSONResponse({"categories": sorted(counts.items())})

    async def shape(request: Request) -> Response:
        row = request.path_params["row"]
        if row >= len(searcher):
            raise RefusedRequest("there is no such shape", 404)
        return JSONResponse(
            {
                "row": row,
                "id": header.ids[row],
                "category": header.categories[row],
                "file": PurePath(header.files[row]).name,
                "captions": header.captions[row],
            }
        )

    return [
        Route("/find", find, methods=["POST"]),
        Route("/filters", filters),
        Route("/shape/{row:int}", shape),
    ]


def plain_answers(answers: Answers) -> dict[str, Any]:
    """Answers as the page reads them: `Answers.as_json` without the sheet and this machine's folders."""
    plain = answers.as_json()
    del plain["sheet"], plain["schema"]
    for answer in plain["answers"]:
        answer["file"] = PurePath(answer["file"]).name
    return plain


SEARCH_TAB = Tab("search", "Search", _routes)
