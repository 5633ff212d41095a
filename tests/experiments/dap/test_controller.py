"""An agent acts without labels only where it surely gained in validation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import hydra
import pytest

from experiments.dap.controller import DapController
from experiments.settings.command import CONF
from experiments.settings.schema import RunConfig, from_hydra, register_sizes
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
        policy.keep_if_best({"validation/return": mean, "validation/return_error": 0.01})
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
