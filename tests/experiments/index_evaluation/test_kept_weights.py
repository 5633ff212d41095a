"""Weights of the light re-ranker beside a run: found as they were written, or trained again."""

import random
from pathlib import Path

import pytest
import torch

from durable.tensor_files import write_tensors
from experiments.index_evaluation.distill_light import kept_weights
from tests.durable.test_checksums import flipped

CPU = torch.device("cpu")
WEIGHTS = {"scale": torch.arange(200.0), "bias": torch.zeros(3)}


@pytest.mark.parametrize("seed", range(3))
def test_flipped_weights_are_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    path = tmp_path / "light.safetensors"
    write_tensors(path, WEIGHTS, {"key": "of the run"})
    whole = path.read_bytes()
    assert kept_weights(path, "of another run", CPU) is None
    for bit in random.Random(seed).sample(range(8 * len(whole)), 40):
        path.write_bytes(whole)
        found = kept_weights(path, "of the run", CPU)
        assert found is not None
        assert torch.equal(found["scale"], WEIGHTS["scale"])
        flipped(path, bit)
        assert kept_weights(path, "of the run", CPU) is None
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"{path} is damaged" in told
        assert "kept as light.safetensors.damaged, made anew" in told
    assert kept_weights(path, "of the run", CPU) is None
    assert not capsys.readouterr().err
