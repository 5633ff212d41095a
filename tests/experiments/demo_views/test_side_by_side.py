"""Runs side by side: figures of each, what differs, common curves with intervals, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from align3d.errors import UserError
from experiments.demo_views.side_by_side import RunsView, neighbors
from experiments.run_folder.metrics_log import MetricsLogger
from tests.experiments.reporting.synthetic_runs import write_run

CURVE = [(100, 0.01), (200, 0.02), (300, 0.05)]


@pytest.fixture
def view(tmp_path: Path) -> RunsView:
    write_run(tmp_path / "a", agent="mcts", seed=0, final=0.6, returns=CURVE, settings={"reward.alpha": 0.5})
    write_run(tmp_path / "b", agent="none", seed=1, final=0.5)
    write_run(tmp_path / "c", agent="mcts", seed=0, final=0.55, returns=CURVE, hash="other")
    write_run(tmp_path / "d", finished=False)
    (tmp_path / "e").mkdir()
    return RunsView([tmp_path / name for name in "abcd"])


def test_results_and_settings_stand_side_by_side(view: RunsView) -> None:
    found = view.compared([0, 1])
    assert [run["title"] for run in found["runs"]] == [
        "mcts on procedural, seed 0",
        "none on procedural, seed 1",
    ]
    assert found["runs"][1]["verdict"].startswith("No agent took part")
    final = next(
        row for row in found["results"] if (row["ranking"], row["measure"]) == ("HAF, calibrated", "R@1")
    )
    assert (final["values"], final["best"]) == (["60.0", "50.0"], [0])
    equal = next(row for row in found["results"] if row["ranking"] == "exact KNN")
    assert equal["best"] == []
    settings = {row[0]: row[1:] for row in found["settings"]}
    assert settings["seed"] == ["0", "1"]
    assert settings["agent.name"] == ["mcts", "none"]
    assert settings["reward.alpha"] == ["0.5", "0"]
    assert found["notes"] == []
    assert ["steps", "1", "1"] in found["facts"]


def test_runs_that_were_tested_otherwise_are_not_compared_in_silence(view: RunsView) -> None:
    assert "cannot be compared" in view.compared([0, 2])["notes"][0]


def test_curves_of_all_runs_stand_in_one_plot(view: RunsView, tmp_path: Path) -> None:
    plots = view.compared([0, 2])["plots"]
    labels = [re.search('aria-label="([^"]*)"', plot)[1] for plot in plots]  # type: ignore[index]
    assert labels == [
        "Return of the agent&#x27;s episodes, with labels",
        "Return in validation, without labels",
    ]
    assert all(">a<" in plot and ">c<" in plot for plot in plots)
    assert not any("FillBetween" in plot for plot in plots)


def test_errors_that_a_run_states_are_drawn_as_intervals(tmp_path: Path) -> None:
    for name in ("with", "without"):
        write_run(tmp_path / name)
        journal = MetricsLogger(tmp_path / name)
        for step in range(1, 4):
            error = {"validation/return_error": 0.01} if name == "with" else {}
            journal.write(step, "agent", {"validation/return": 0.01 * step, **error})
        journal.close()
    view = RunsView([tmp_path / "with", tmp_path / "without"])
    both, one = view.compared([0, 1])["plots"][0], view.compared([1])["plots"][0]
    assert both.count("FillBetweenPolyCollection") == 1
    assert "FillBetweenPolyCollection" not in one


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([], "0 runs: choose 1 to 8"),
        ([9], "run 9: expected 0 to 3"),
        ([3], "d: "),
        (range(9), "9 runs: choose"),
    ],
)
def test_what_cannot_be_compared_is_refused(view: RunsView, numbers: list[int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        view.compared(list(numbers))


def test_the_listing_says_why_a_run_cannot_be_shown(view: RunsView) -> None:
    found = view.listing()
    assert [one["name"] for one in found] == ["a", "b", "c", "d"]
    assert found[0]["title"] == "mcts on procedural, seed 0"
    assert "title" not in found[3]
    assert found[3]["reason"]


def test_neighbors_are_the_finished_runs_beside_a_run(view: RunsView, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert [folder.name for folder in neighbors(tmp_path / "b")] == ["b", "a", "c"]
