"""What a loop tells of its pace."""

import pytest

from align3d.console.progress import Tracker


class Clock:
    """Time that passes as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_first_step_that_compiles_is_no_pace(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    tracker = Tracker("training", 24, done=20, clock=clock)
    told = []
    for seconds in (62.0, 10.0, 20.0):
        clock.now += seconds
        tracker.advance(note="loss 1.0")
        told.append(capsys.readouterr().err.strip())
    assert told == [
        "training: 21/24 loss 1.0",
        "training: 22/24, 0.1 steps/s, 20 s left loss 1.0",
        "training: 23/24, 0.1 steps/s, 15 s left loss 1.0",
    ]


def test_one_slow_step_among_quick_ones_is_left_out() -> None:
    clock = Clock()
    tracker = Tracker("reading", 100, unit="files", clock=clock)
    for seconds in (1.0, 1.0, 50.0, 1.0):
        clock.now += seconds
        tracker.advance(2)
    assert tracker.rate == pytest.approx(2)
