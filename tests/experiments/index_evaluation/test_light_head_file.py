"""The light re-ranker's file: found again, and made anew with the same weights where it is damaged."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from experiments.data.corpus import Corpus
from experiments.index_evaluation import distill_light
from experiments.index_evaluation.distill_light import light_head
from experiments.index_evaluation.load_run import Trained
from models import AlignmentModel
from tests.experiments.run_folder.test_run_files import settings

CPU = torch.device("cpu")


def test_a_damaged_head_is_trained_anew(
    tmp_path: Path,
    corpus: Corpus,
    model: AlignmentModel,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(distill_light, "STEPS", 2)
    every = torch.arange(len(corpus.dataset))
    corpus = dataclasses.replace(corpus, splits={"train": every})
    results = {"dataset": {"hash": "a"}, "steps": 1}
    frozen = copy.deepcopy(model).requires_grad_(False)
    trained = Trained(tmp_path, settings(model="tiny"), corpus, frozen, results)
    first = light_head(trained, tmp_path, CPU).state_dict()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    found = light_head(trained, tmp_path, CPU).state_dict()
    assert all(torch.equal(found[name], first[name]) for name in first)
    path.write_bytes(whole[:-50])
    capfd.readouterr()
    again = light_head(trained, tmp_path, CPU).state_dict()
    assert f"{path} is damaged" in capfd.readouterr().err
    assert all(torch.equal(again[name], first[name]) for name in first)
    assert path.read_bytes() == whole
