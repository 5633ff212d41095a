"""Batches that fit a small data set."""

import dataclasses

import pytest

from experiments.data.batches import fit
from experiments.settings.schema import TrainConfig


@pytest.mark.parametrize(
    ("shapes", "size", "group"), [(640, 64, 16), (64, 64, 16), (63, 48, 16), (21, 16, 16), (9, 9, 9)]
)
def test_batches_are_no_larger_than_the_split(
    shapes: int, size: int, group: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig()
    fitted = fit(config, shapes)
    assert fitted == dataclasses.replace(config, batch_size=size, group=group)
    told = capsys.readouterr().err
    assert (f"going on with train.batch_size={size}" in told) == (shapes < 64)
    assert ("train.group=9" in told) == (shapes == 9)
