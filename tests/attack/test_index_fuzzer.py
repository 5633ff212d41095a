"""Indexes that somebody changed with right checksums are refused or answer; no process ends."""

from pathlib import Path

from tests.attack.index_fuzzer import fuzz


def test_no_changed_index_ends_a_process(tmp_path: Path) -> None:
    tally = fuzz(tmp_path, cases=160, seed=0)
    assert tally.faults == []
    assert tally.outcomes["refused"] > 60
    assert tally.outcomes["answered"] > 15
