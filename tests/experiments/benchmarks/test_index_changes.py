"""The benchmark of an index that changes: its stream, its figures, its picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import benchmark


def test_a_maintained_index_keeps_its_recall_along_a_stream(tmp_path: Path) -> None:
    out, plot = tmp_path / "rows.json", tmp_path / "new" / "recall.svg"
    settings = ("changes=6000", "step=100", "checkpoints=6", "width=32", "queries=200")
    assert benchmark.main(["index_changes", *settings, f"out={out}", f"plot={plot}"]) == 0
    rows = json.loads(out.read_text())
    assert len(rows) == 2 * 6 + 2
    recalls = [row for row in rows if row["metric"] == "recall@10"]
    fresh = [row for row in recalls if row["peer_name"] == "fresh"]
    assert all(row["ours"] > row["peer"] - 0.04 for row in fresh)
    neglected = [row for row in recalls if row["peer_name"] == "neglected"]
    assert neglected[-1]["ours"] > neglected[-1]["peer"] + 0.1
    assert [row["case"].split("(")[1].split(")")[0] for row in fresh] == [
        "grow",
        "grow",
        "exchange",
        "shrink",
        "shrink",
        "grow",
    ]
    assert "maintained" in plot.read_text()
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("plot=recall.txt", "expected a file that ends in .png or .svg"),
        ("changes=100", "expected a step for each checkpoint"),
    ],
)
def test_what_it_cannot_do_is_said_at_once(
    setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["index_changes", setting]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
