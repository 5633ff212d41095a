"""Tab of uploads: a mesh or a cloud in, captions that fit it and shapes like it out.

The file is written into a temporary folder of its own, read by a process of its own, and removed with it.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiments.demo_page.clouds import packed
from experiments.demo_page.decode_upload import REFUSED
from experiments.demo_page.demo_state import Demo, Tab
from experiments.demo_page.refusals import RefusedRequest, bytes_of
from experiments.demo_page.search_tab import MOST_ANSWERS, plain_answers
from experiments.demo_page.upload_format import suffix_of
from experiments.demo_page.work_queue import WorkQueue
from experiments.shape_search.library_files import LibraryHeader
from experiments.shape_search.shape_query import ShapeCloud, unit_of

LARGEST_UPLOAD = 32 * 2**20
"""Bytes of an uploaded file, at most."""
PATIENCE = 90.0
"""Seconds that reading a file may take."""
READERS, MOST_WAITING = 2, 12
"""Files that are read at once, and those that are read or wait for it: each is held in memory."""
MOST_POINTS = 4096
"""Points of an uploaded shape that the page draws."""


class UploadQuery(BaseModel):
    """What is said of an upload in its address.

    Attributes:
        name: Of the file, for people.
        k: How many captions and shapes.
        unit_m: Unit of the file in meters; None: as its format has it.
        up: Axis that points up in it; None: as its format has it.
    """

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=300)] = "upload"
    k: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] = 10
    unit_m: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    up: Literal["x", "y", "z"] | None = None


def _routes(demo: Demo) -> Sequence[Route]:
    searcher, reading = demo.searcher, WorkQueue(READERS, MOST_WAITING)
    demo.closing.append(reading.close)

    async def shape(request: Request) -> Response:
        try:
            asked = UploadQuery.model_validate(dict(request.query_params))
        except ValidationError as error:
            first = error.errors()[0]
            raise RefusedRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        content = await bytes_of(request, LARGEST_UPLOAD)
        if not content:
            raise RefusedRequest(f"{asked.name}: the file is empty")
        cloud, notes = await reading.run(read_upload, content, asked, searcher.library.header)
        return JSONResponse(await demo.work.run(answered, cloud, notes, asked))

    def answered(cloud: ShapeCloud, notes: list[str], asked: UploadQuery) -> dict[str, Any]:
        found = searcher.search_shape(cloud, min(asked.k, len(searcher)))
        drawn = packed(cloud.points[:MOST_POINTS].astype(np.float32), cloud.colors[:MOST_POINTS])
        return {
            **plain_answers(found),
            "cloud": base64.b64encode(drawn).decode(),
            "size_m": [float(f"{extent:.3g}") for extent in cloud.size_m],
            "notes": notes,
        }

    return [Route("/shape", shape, methods=["POST"])]


def read_upload(content: bytes, asked: UploadQuery, header: LibraryHeader) -> tuple[ShapeCloud, list[str]]:
    """The shape in an uploaded file, and what was guessed in reading it.

    Args:
        content: Of the file.
        asked: What was said of it.
        header: Of the library that it asks.

    Raises:
        RefusedRequest: It cannot be read.
    """
    suffix = suffix_of(content, asked.name)
    unit_m = unit_of(header, suffix) if asked.unit_m is None else asked.unit_m
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        file, out = Path(folder) / f"shape{suffix}", Path(folder) / "cloud.npz"
        file.write_bytes(content)
        said = [
            str(file),
            str(header.points),
            "-" if unit_m is None else repr(unit_m),
            asked.up or "-",
            str(out),
        ]
        command = [sys.executable, "-m", "experiments.demo_page.decode_upload", *said]
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedRequest(f"{asked.name}: reading it takes more than {PATIENCE:.0f} s") from error
        if done.returncode == REFUSED:
            raise RefusedRequest(f"{asked.name}: {done.stdout.decode(errors='replace').strip()}")
        if done.returncode or not out.is_file():
            raise RefusedRequest(
                f"{asked.name}: cannot be read: damaged, or it takes too much memory or time"
            )
        with np.load(out, allow_pickle=False) as read:
            cloud = ShapeCloud(asked.name, read["points"], read["colors"], read["size_m"])
            return cloud, [str(note) for note in read["notes"]]


UPLOAD_TAB = Tab("upload", "Upload", _routes)
