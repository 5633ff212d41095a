"""Tab of attention: where each word of a query looks on a shape, and which known pairs spoke."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from experiments.demo_page.clouds import packed
from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.refusals import RefusedRequest, body_of
from experiments.demo_page.search_tab import SearchWords
from experiments.shape_search.explanation import Explanation, explain
from models.points import LEVELS


class ExplainAnswer(SearchWords):
    """Body of a question about an answer.

    Attributes:
        row: Row of the shape in the library; None for the best answer.
    """

    row: Annotated[int, Field(ge=0)] | None = None


def _routes(demo: Demo) -> Sequence[Route]:
    async def explained(request: Request) -> Response:
        asked = await body_of(request, ExplainAnswer)
        if asked.row is not None and asked.row >= len(demo.searcher):
            raise RefusedRequest("there is no such shape", 404)
        return JSONResponse(await demo.work.run(answered, asked))

    def answered(asked: ExplainAnswer) -> dict[str, Any]:
        found = explain(demo.searcher, asked.query, asked.row, asked.where.strip() or None)
        return plain_explanation(found) | _shape(demo, found.row)

    return [Route("/explain", explained, methods=["POST"])]


def plain_explanation(found: Explanation) -> dict[str, Any]:
    """An explanation as the page reads it; lights are bytes ``[S, T, N_0]`` in base64, 255 a word's most."""
    return {
        "row": found.row,
        "rank": found.rank,
        "words": found.words,
        "strengths": found.strengths,
        "scores": _rounded(found.scores),
        "weights": _rounded(found.weights),
        "levels": LEVELS,
        "gates": _rounded(found.gates),
        "lights": {name: _base64(_brightness(light)) for name, light in found.lights.items()},
        "patches": next(iter(found.lights.values())).shape[-1],
        "calibration": found.calibration,
        "recall": found.recall,
        "strength": found.strength,
        "hubness": found.hubness,
        "against": found.against,
        "pairs": [
            {
                "text": pair.text,
                "weight": pair.weight,
                "logits": pair.logits,
                "shapes": [
                    {"id": name, "row": row} for name, row in zip(pair.shapes, pair.rows, strict=True)
                ],
            }
            for pair in found.pairs
        ],
    }


def _shape(demo: Demo, row: int) -> dict[str, Any]:
    """The shape with its points, the patch of each and, where it has any, its parts."""
    header, shapes = demo.searcher.library.header, demo.searcher.library.shapes
    clouds, colors = demo.searcher.clouds([row])
    parts = header.part_names[row] if "part" in shapes else []
    return {
        "caption": header.captions[row][0],
        "category": header.categories[row],
        "id": header.ids[row],
        "cloud": base64.b64encode(packed(clouds[0], colors[0])).decode(),
        "patch": _base64(shapes["patch"][row].numpy()),
        "part_names": parts,
        "part": _base64(shapes["part"][row].numpy().astype("<i2")) if parts else None,
    }


def _brightness(light: Tensor) -> np.ndarray:
    most = light.amax(dim=(0, 2), keepdim=True).clamp(min=1e-30)
    return (255 * light / most).round().numpy().astype(np.uint8)


def _rounded(values: Tensor) -> Any:
    return values.double().round(decimals=4).tolist()


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


ATTENTION_TAB = Tab("attention", "Attention", _routes)
