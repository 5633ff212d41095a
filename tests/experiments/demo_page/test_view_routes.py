"""What the server answers to Calibrate, Map and Runs: to visitors apart, and to what does not fit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.experiments.demo_page.served_run import ServedRun, serving_run
from tests.experiments.shape_search.searched_run import Searched

ADA, BOB = "a" * 32, "b" * 32
WISH = {"query": "a gray cone", "agent": "random_search", "budget": 16, "label": 17}


@pytest.fixture(scope="module")
def served(searched: Searched) -> Iterator[ServedRun]:
    with serving_run(searched.run) as found:
        yield found


def got(served: ServedRun, path: str, visitor: str = ADA) -> tuple[int, Any]:
    status, content, _ = served.ask("GET", f"api/{path}", headers={"X-Visitor": visitor})
    return status, json.loads(content)


def finished(served: ServedRun, visitor: str) -> dict[str, Any]:
    for _ in range(3000):
        status, found = got(served, "calibrate/progress", visitor)
        assert status == 200, found
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.02)
    raise AssertionError("the search does not end")


def test_each_visitor_reads_a_calibration_of_their_own(served: ServedRun) -> None:
    assert got(served, "calibrate/progress", BOB)[0] == 404
    begun = served.post("api/calibrate/start", WISH, **{"X-Visitor": ADA})
    assert "session" not in begun  # the server knows whose page it is
    assert begun["words"] == ["a", "gray", "cone"]
    found = finished(served, ADA)
    assert found["state"] == "done"
    assert got(served, "calibrate/progress", BOB) == (
        404,
        {"error": "nothing was calibrated on this page yet"},
    )
    other = served.post("api/calibrate/start", {**WISH, "query": "a disc"}, **{"X-Visitor": BOB})
    assert other["words"] == ["a", "disc"]
    finished(served, BOB)
    nodes = len(found["nodes"])
    status, rest = got(served, f"calibrate/progress?nodes={nodes}&frames=0", ADA)
    assert (status, rest["nodes"], rest["frames"]) == (200, [], found["frames"])
    served.post("api/calibrate/cancel", {}, **{"X-Visitor": BOB})
    assert got(served, "calibrate/progress", ADA)[1]["moves"] == found["moves"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget": 10**6}, "budget=1000000: expected a whole number from 0 to 512"),
        ({"budget": "64"}, "budget: "),
        ({"agent": "none"}, "agent=none: expected one of "),
        ({"label": None}, "say which shape is meant"),
        ({"label": -1}, "label=-1: expected 0 to 59"),
        ({"query": "?"}, "no word or number"),
        ({"query": "x" * 3000}, "query: "),
        ({"folder": "/etc"}, "folder: "),
    ],
)
def test_a_wish_that_does_not_fit_gets_a_sentence(
    served: ServedRun, change: dict[str, Any], said: str
) -> None:
    assert said in served.refused("api/calibrate/start", {**WISH, **change})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("map/node?level=7", "level=7: expected -1"),
        ("map/node?level=0&node=-3", "node=-3: expected 0 to "),
        ("map/node?level=x", "level=x: expected a whole number"),
        ("map/shapes?level=0&node=1000000000000", "node=1000000000000: expected a whole number"),
        ("runs/compared?runs=7", "run 7: expected 0 to "),
        ("runs/compared?runs=../x", "runs=../x: expected whole numbers"),
        ("runs/compared", "0 runs: choose 1 to 8"),
        ("calibrate/progress?nodes=1e9", "nodes=1e9: expected a whole number"),
    ],
)
def test_an_address_that_does_not_fit_gets_a_sentence(served: ServedRun, path: str, said: str) -> None:
    status, found = got(served, path)
    assert status == 400
    assert found["error"].startswith(said)


def test_the_run_and_its_neighbors_are_listed(served: ServedRun) -> None:
    status, runs = got(served, "runs/list")
    assert status == 200
    assert runs[0]["name"] == "run"
    status, found = got(served, "runs/compared?runs=0")
    assert status == 200
    assert found["settings"] == []
    assert all(" style=" not in plot and "<style" not in plot for plot in found["plots"])
