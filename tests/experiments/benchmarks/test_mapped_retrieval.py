"""The benchmark of vectors on disk: what it measures, and that it goes on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import benchmark
from experiments.benchmarks import mapped_retrieval
from experiments.benchmarks.mapped_retrieval import NAME
from experiments.console.process import PeakMemory, resident_bytes

ARGUMENTS = ["dim=16", "queries=40", "singles=5", "rounds=1", "seconds=1", "writes=200", "batch=50"]


def run(folder: Path, *more: str) -> list[dict[str, object]]:
    out = folder / "rows.json"
    assert benchmark.main([NAME, f"folder={folder / 'kept'}", f"out={out}", *ARGUMENTS, *more]) == 0
    rows: list[dict[str, object]] = json.loads(out.read_text())
    return rows


def test_all_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(tmp_path, "size=1500,3000")
    for size in ("1,500", "3,000"):
        metrics = {row["metric"] for row in rows if size in str(row["case"])}
        for wanted in (
            "build s", "MB of its own while building, at most", "resident MB", "mapped MB", "save s",
            "MB of its own, loaded", "queries/s at recall@10 ≥ 0.95, single",
            "queries/s at recall@10 ≥ 0.99, batched", "ms, p99, beside a writer", "vectors added/s",
        ):  # fmt: skip
            assert wanted in metrics
    mapped = [row["ours"] for row in rows if row["metric"] == "mapped MB"]
    assert mapped == [pytest.approx(64 * size / 1e6) for size in (1500, 1500, 3000, 3000)]
    monkeypatch.setattr(mapped_retrieval, "_task", None)  # it would be called to measure anything
    assert run(tmp_path, "size=1500,3000") == rows
    kept = tmp_path / "kept" / "harder-16-0"
    assert sorted(path.name for path in kept.glob("vectors-*")) == ["vectors-1500.npy", "vectors-3000.npy"]


def test_exact_neighbors_are_those_of_all_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_retrieval, "STEP", 700)
    run(tmp_path, "size=1500", "engines=ers")
    kept = tmp_path / "kept" / "harder-16-0"
    with np.load(kept / "exact-1500-40-10.npz") as found:
        exact = np.argsort(-(found["queries"] @ np.load(kept / "vectors-1500.npy").T), axis=1)[:, :10]
        np.testing.assert_array_equal(found["exact"], exact)


def test_a_file_of_rows_that_is_damaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept" / "harder-16-0"
    kept.mkdir(parents=True)
    (kept / "measured-1500.json").write_text('{"index ers": []}')
    arguments = [NAME, f"folder={tmp_path / 'kept'}", "size=1500", *ARGUMENTS]
    assert benchmark.main(arguments) == 2
    assert "measured-1500.json cannot be read" in capsys.readouterr().err


@pytest.mark.skipif(resident_bytes() is None, reason="only Linux says whose memory it is")
def test_the_peak_is_that_of_the_process_itself() -> None:
    before = resident_bytes()
    assert before is not None
    with PeakMemory() as peak:
        held = np.ones(8_000_000)
        for _ in range(10):
            held *= 1.0
    assert 50e6 < peak.bytes - before[0] < 120e6
