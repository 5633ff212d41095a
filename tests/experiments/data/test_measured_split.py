"""The split that a run is measured on."""

from pathlib import Path

import torch

from experiments.data.corpus import load_corpus
from experiments.settings.command import check
from experiments.settings.schema import register_sizes

register_sizes()
SIZES = ["model=tiny", "data.size=40", "data.points=256", "data.test=12", "data.reward=8", "data.workers=1"]


def test_the_reward_split_can_stand_in_for_the_test_split(tmp_path: Path) -> None:
    splits = []
    for more in ([], ["eval.split=reward"]):
        (config,) = check([*SIZES, "agent=none", f"cache={tmp_path}", *more])
        splits.append(load_corpus(config, torch.device("cpu")).splits)
    as_it_is, chosen_by = splits
    assert (len(as_it_is["test"]), len(chosen_by["test"])) == (12, 8)
    assert torch.equal(chosen_by["test"], as_it_is["reward"])
    for name in ("train", "reward"):
        assert torch.equal(chosen_by[name], as_it_is[name])
