"""The command that measures speed: its settings, its file, and timing that gives everyone a turn."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from experiments import benchmark
from experiments.benchmarks import BENCHMARKS, Row, interleaved


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(batch: tuple[int, ...] = (1, 64), rounds: int = 3) -> Iterator[Row]:
        """Toy."""
        for size in batch:
            yield Row("toy", f"batch {size}", "seconds", 1.0, float(size), "peer", higher_is_better=False)

    monkeypatch.setitem(BENCHMARKS, "toy", run)


@pytest.mark.usefixtures("toy")
def test_rows_are_printed_and_written(tmp_path, capsys):
    out = tmp_path / "deep" / "rows.json"
    assert benchmark.main(["toy", "batch=2,8", f"out={out}"]) == 0
    rows = json.loads(out.read_text())
    assert [row["ratio"] for row in rows] == [2.0, 8.0]
    assert {"benchmark", "case", "metric", "ours", "peer", "peer_name", "ratio"} == set(rows[0])
    assert "batch 8" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["toyy"], "did you mean toy"),
        (["toy", "bacth=1"], "did you mean batch"),
        (["toy", "rounds=many"], "rounds=many"),
        (["toy", "rounds"], "key=value"),
        (["toy", "batch="], "batch=: expected at least one value"),
        (["toy", "out="], "out=: expected a value"),
        (["toy", "out=/proc/x/y.json"], "out=/proc/x/y.json: cannot be written to (No such file"),
        (["toy", f"out={__file__}/x.json"], "a file is there"),
        (["toy", "out=/tmp"], "a folder is there"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_measured(arguments, hint, capsys):
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1


def test_help_lists_the_benchmarks_with_their_settings(toy, capsys):
    assert benchmark.main([]) == 0
    printed = capsys.readouterr().out
    assert "toy: Toy." in printed
    assert "  batch=1,64 " in printed
    assert "  rounds=3 " in printed


def test_a_case_with_several_peers_has_one_line_and_no_powers_of_ten():
    rows = [
        Row("toy", "step", "steps/s", 1574.0, 156_200.0, "floor: products"),
        Row("toy", "step", "steps/s", 1574.0, 0.000_123, "floor: memory"),
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(benchmark.table(rows))
    text = capture.get()
    assert text.count("step ") == 1
    for words in ("1,574 ", "156,200 (floor: products)", " 1/99.2 ", "0.000123 (floor: memory)"):
        assert words in text


def test_everyone_is_called_in_turn():
    calls: list[str] = []
    times = interleaved({name: lambda n=name: calls.append(n) for name in "ab"}, seconds=0.0, rounds=4)
    assert calls == [*"aabb", *"ab", *"ba", *"ab", *"ba"]
    assert all(len(found) == 4 for found in times.values())
