"""Known pairs in training: when they are embedded, and when not at all."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.loop import remembers_at

register_sizes()


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["agent=none", "dap.mode=off"], []),
        (["agent=none", "dap.mode=off", "dap.score_weight=1"], [15, 16, 20]),
        (["agent=none", "dap.mode=off", "dap.score_weight=1", "memory=off"], []),
        (["agent=none", "dap.mode=off", "dap.score_weight=1", "dap.warmup=1"], []),
        (["agent=random", "dap.mode=substitute"], [15, 16, 20]),
        (["agent=random", "dap.mode=distill", "memory=off", "env.families=[level,stop]"], []),
    ],
)
def test_known_pairs_are_embedded_as_the_warm_up_ends_and_once_an_epoch(
    overrides: list[str], steps: list[int]
) -> None:
    (config,) = check(["dap.warmup=0.6", *overrides])
    session = cast(Any, SimpleNamespace(config=config, batches=SimpleNamespace(total=24, per_epoch=4)))
    assert [step for step in range(24) if remembers_at(session, step)] == steps
