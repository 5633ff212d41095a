from pathlib import Path

import pytest

from experiments.index_evaluation.measure import Measured
from experiments.index_evaluation.measured_tables import size_plot
from retrieval.benchmark.curves import Cost, Point, Speed


def measured(rate: float, recall: float, build: float) -> Measured:
    better = Point({}, 1.0, {}, Speed(rate / 4, rate / 8, 1, 1))
    point = Point({}, recall, {}, Speed(rate, rate / 2, 1, 1))
    return Measured(Cost(build, build, 1, 0), [point, better], better, {}, (0.0, 0.0, 0.0))


def test_cost_is_read_off_at_the_recall_and_linear_growth_stands_beside_it(tmp_path: Path) -> None:
    by_size = {
        100: {"flat": measured(100, 1.0, 0), "ers": measured(1000, 0.95, 3)},
        10: {"flat": measured(1000, 1.0, 0), "ers": measured(2000, 0.95, 1)},
    }
    figure = size_plot(by_size, tmp_path / "deep" / "size.png", 0.95, 10)
    assert (tmp_path / "deep" / "size.png").read_bytes().startswith(b"\x89PNG")
    batch, single, build = (
        {line.get_label(): [float(y) for y in line.get_ydata()] for line in axis.get_lines()}
        for axis in figure.axes
    )
    assert batch["ers"] == pytest.approx([0.5, 1.0])  # milliseconds, the smaller size first
    assert single["ers"] == pytest.approx([1.0, 2.0])
    assert build["ers"] == [1, 3]
    assert batch["exact KNN (flat)"] == pytest.approx([1.0, 10.0])
    assert batch["linear"][1] == pytest.approx(10 * batch["linear"][0])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["exact KNN (flat)", "ers", "linear"]


def test_exact_search_alone_has_nothing_to_build(tmp_path: Path) -> None:
    by_size = {size: {"flat": measured(9, 1.0, 0)} for size in (10, 100)}
    figure = size_plot(by_size, tmp_path / "size.png", 0.95, 10)
    assert (tmp_path / "size.png").exists()
    assert not figure.axes[2].get_yticks().size


def test_an_engine_that_does_not_reach_the_recall_has_no_mark(tmp_path: Path) -> None:
    low = Point({}, 0.5, {}, Speed(9, 9, 1, 1))
    by_size = {
        size: {
            "ers": Measured(Cost(1, 1, None, 0), [low], low, {}, (0.0, 0.0, 0.0)),
            "flat": measured(9, 1.0, 0),
        }
        for size in (10, 100)
    }
    figure = size_plot(by_size, tmp_path / "size.png", 0.95, 10)
    marks = {line.get_label(): len(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert marks["ers"] == 0
    assert marks["exact KNN (flat)"] == 2
