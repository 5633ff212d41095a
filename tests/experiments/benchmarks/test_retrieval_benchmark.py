"""The benchmark of engines: who is compared with whom, what is left out, and its files."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure

from experiments import benchmark
from experiments.benchmarks.engine_rows import cost_rows, speed_rows
from experiments.index_evaluation.measure import worth_timing
from experiments.index_evaluation.recall_plot import line_style, recall_plot
from retrieval.benchmark.curves import Cost, Point, Speed
from retrieval.engines import ENGINES


def point(recall: float, rate: float) -> Point:
    return Point({}, recall, {}, Speed(rate, rate / 2, 1 / rate, 2 / rate))


CURVES = {
    "flat": [point(1.0, 10)],
    "hnsw": [point(0.9, 200), point(0.97, 100)],
    "ivf": [point(0.95, 300), point(1.0, 50)],
    "ers": [point(0.95, 600), point(1.0, 100)],
}


def test_ours_is_compared_with_exact_search_and_with_the_best_rival(capsys):
    rows = [row for row in speed_rows(CURVES, "here", 10) if "batched" in row.metric]
    at_95 = [row for row in rows if "0.95" in row.metric]
    assert {row.case.split(",")[0]: (row.peer_name, row.ratio) for row in at_95} == {
        "hnsw": ("flat", pytest.approx(10 * (1 / 2) ** (5 / 7) * 2)),
        "ivf": ("flat", pytest.approx(30)),
        "ers": ("flat", pytest.approx(60)),
        "ers against the best rival": ("ivf", pytest.approx(2)),
    }
    assert not [row for row in rows if "0.99" in row.metric and row.case.startswith("hnsw")]
    assert "hnsw: here: does not reach recall@10 0.99" in capsys.readouterr().err


def test_the_best_settings_of_each_side_are_compared():
    """An engine with other settings is still that engine: ours is never its own rival."""
    more = {
        "ivf:nlist=8": [point(0.99, 500)],
        "ers:beam=3": [point(0.99, 700)],
        "ers:beam=4": [point(1.0, 1)],
    }
    rows = [row for row in speed_rows(CURVES | more, "here", 10) if "rival" in row.case]
    at_99 = [(row.peer_name, row.ratio) for row in rows if "0.99" in row.metric]
    assert at_99 == [("ivf:nlist=8", pytest.approx(1.4))] * 2  # batched and single


def test_lines_of_one_engine_share_a_color_and_differ():
    plain, *others = (line_style(name) for name in ("ivf", "ivf:nlist=8", "ivf:nlist=9"))
    assert {style["color"] for style in others} == {plain["color"]}
    assert len({(style["marker"], str(style["linestyle"])) for style in (plain, *others)}) == 3
    assert line_style("ers:beam=3")["linewidth"] == line_style("ers")["linewidth"]


def test_costs_stand_beside_the_graph_and_the_raw_vectors():
    costs = {
        "flat": Cost(0, 0, 100, 0),
        "hnsw": Cost(9, 8.0, 130_000_000, 0),
        "ers": Cost(3, 2.0, 30_000_000, 100_000_000),
    }
    rows = {(row.case, row.metric): row.ratio for row in cost_rows(costs, "here", 100_000_000)}
    assert rows["hnsw, here", "build CPU-s"] is None
    assert rows["ers, here", "build CPU-s"] == pytest.approx(4)
    assert rows["ers, here", "resident MB"] == pytest.approx(10 / 3)
    assert rows["ers, here", "disk MB"] == pytest.approx(1)


def test_only_points_that_matter_are_timed():
    line = [point(0.3, 1), point(0.8, 1), point(0.97, 1), point(0.99, 1)]
    assert worth_timing(line) == [line[2], line[3], line[1]]
    assert worth_timing([point(0.3, 1), point(0.5, 1)]) == [point(0.5, 1)]
    assert worth_timing(CURVES["hnsw"]) == CURVES["hnsw"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_has_a_line_an_engine(tmp_path, suffix):
    path = tmp_path / "deep" / f"plot.{suffix}"
    figure = recall_plot(CURVES | {"absent": []}, path, title="here")
    assert isinstance(figure, Figure)
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == list(CURVES)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    recall_plot(CURVES, path, title="here")
    assert path.read_bytes() == first


def test_a_plot_of_nothing_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.png or \.svg"):
        recall_plot(CURVES, tmp_path / "plot.gif")
    with pytest.raises(ValueError, match="no curves"):
        recall_plot({"flat": []}, tmp_path / "plot.png")


def test_engines_are_built_compared_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ENGINES, "scann", ("retrieval.engines.not_here", "Scann"))
    out = tmp_path / "rows.json"
    arguments = ["size=2000", "dim=16", "engines=flat,scann,ivf", "queries=40", "singles=5", "rounds=2"]
    assert benchmark.main(["retrieval", *arguments, f"out={out}"]) == 0
    assert "left out: scann: retrieval.engines.not_here is not part of" in capsys.readouterr().err
    rows = json.loads(out.read_text())
    speeds = [row for row in rows if row["metric"].startswith("queries/s")]
    assert {row["peer_name"] for row in speeds} == {"flat"}
    assert len(speeds) == 4


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("engines=hsnw", "did you mean hnsw"),
        ("mixture=odd", "mixture=odd"),
        ("threads=0", "threads=0: expected greater than or equal to 1"),
        ("queries=300000", "queries=300000 of 100000"),
        ("rounds=0", "rounds=0: expected greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_line(argument, hint, capsys):
    assert benchmark.main(["retrieval", argument]) == 2
    assert hint in capsys.readouterr().err.splitlines()[-1]


def test_feedback_is_measured_against_similarity_alone(tmp_path):
    out = tmp_path / "rows.json"
    settings = ["size=2000", "width=32", "beams=1", "targets=50", "lessons=300", "queries=200"]
    assert benchmark.main(["feedback", *settings, f"out={out}"]) == 0
    rows = json.loads(out.read_text())
    assert len(rows) == 5
    assert {row["peer_name"] for row in rows} == {"w=0, c=0"}
    strongest = next(row for row in rows if "w=1, c=0" in row["case"])
    assert strongest["ours"] > strongest["peer"]
    assert benchmark.main(["feedback", "size=10", "targets=50"]) == 2
