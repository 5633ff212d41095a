"""What the search benchmark shows of its figures."""

from __future__ import annotations

from experiments.benchmarks.search import speed_rows
from experiments.benchmarks.search_table import search_table
from experiments.console import tables


def test_the_table_says_which_goals_are_met(capsys):
    seconds = {"ours": 0.004, "compiled": 0.002, "mctx": 0.004}
    answer = {"search": seconds, "dynamics": seconds, "equal": 1.0}
    rows = [
        row for size in (1, 64) for row in speed_rows(("puct", f"batch {size}", "2 threads"), size, answer)
    ]
    tables.show(search_table(rows), width=130)
    lines = [line for line in capsys.readouterr().out.splitlines() if "searches/s" in line]
    assert len(lines) == 2
    assert "250 (1.00×) ✓" in lines[0]  # alone, as fast will do
    assert "(1.00×) ✗" in lines[1]
    assert "(2.00×) ✓" in lines[1]


def test_without_the_peer_there_is_no_ratio(capsys):
    seconds = {"ours": 0.004, "compiled": 0.002}
    rows = speed_rows(("gumbel", "batch 64", "1 thread"), 64, {"search": seconds, "dynamics": seconds})
    tables.show(search_table(list(rows)), width=130)
    out = capsys.readouterr().out
    assert "✓" not in out.split("┏", 1)[1]
    assert "✗" not in out.split("┏", 1)[1]
