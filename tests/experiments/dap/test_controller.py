"""An agent acts without labels only where it surely gained in validation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import hydra
import pytest
import torch

from experiments.dap.controller import DapController
from experiments.settings.command import CONF
from experiments.settings.reading import from_hydra
from experiments.settings.schema import RunConfig, register_sizes
from models import AlignmentModel
from tests.experiments.evaluation.masts import CONFIG


@pytest.fixture(scope="module")
def config() -> RunConfig:
    register_sizes()
    with hydra.initialize_config_dir(str(Path(CONF)), version_base="1.3"):
        return from_hydra(hydra.compose("config", ["model=tiny", "agent=none"]))


def validated(policy: DapController, *means: float) -> DapController:
    for number, mean in enumerate(means):
        policy.learnt_evaluations = 100 * (number + 1)
        values = {"validation/return": mean, "validation/return_error": 0.01}
        policy.keep_if_best(values, mean + torch.tensor([0.1, -0.1, 0.05, -0.05]))
    policy.go_back_to_best()
    return policy


@pytest.mark.parametrize(
    ("means", "best", "acts"),
    [((0.01, 0.03, 0.02), 200, True), ((0.01, 0.019, -0.1), 200, False), ((-0.1, -0.2), 100, False)],
)
def test_only_a_sure_gain_is_acted_on(
    config: RunConfig, means: tuple[float, ...], best: int, acts: bool
) -> None:
    model = cast(Any, SimpleNamespace(haf=AlignmentModel(CONFIG, text_width=12).haf))
    policy = validated(DapController(model, config), *means)
    assert policy.acts == acts
    assert policy.validation is not None
    assert policy.validation["evaluations"] == best


def test_the_latest_counts_that_is_not_surely_behind_the_best(config: RunConfig) -> None:
    model = cast(Any, SimpleNamespace(haf=AlignmentModel(CONFIG, text_width=12).haf))
    policy = DapController(model, config)
    luck = torch.tensor([1.0, -1.0]).repeat(50)  # differences have a standard error of 0.1 of their size
    for number, (mean, spread) in enumerate([(0.5, 0.0), (0.45, 1.0), (0.35, 1.0), (0.42, 1.0), (0.1, 1.0)]):
        policy.learnt_evaluations = number
        earned = mean + spread * luck
        policy.keep_if_best({"validation/return": mean, "validation/return_error": 0.0}, earned)
    assert policy.validation is not None
    assert policy.validation["evaluations"] == 3  # 0.35 and 0.1 are behind 0.5 by more than 0.1
