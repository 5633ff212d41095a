"""Checks of settings that must fit each other."""

from __future__ import annotations

from align3d.errors import UserError
from envs import STOP, ActionCatalogue, AttentionDims
from experiments.settings.schema import RunConfig
from models import OBJECT_NODES

LIBRARY_FAMILIES = {"memory", "hubness", STOP}
"""Families of actions that need known pairs, and ``stop``."""


def check_together(config: RunConfig) -> None:
    """Settings of two sections that must fit each other."""
    train = config.train
    if train.shift and not train.corrupt:
        raise UserError(
            f"train.shift=[{','.join(train.shift)}]: no shape is shown under it with train.corrupt=0; give a "
            "share of the shapes too, as in train.corrupt=0.3"
        )
    if config.eval.split != "test" and config.agent.name != "none":
        raise UserError(
            f"eval.split={config.eval.split}: agent={config.agent.name} learns on that split; measure it on "
            "the test split, or choose agent=none"
        )
    if config.dap.folds == 1:
        raise UserError("dap.folds=1: expected 0 (no cross-fitting) or at least 2 folds")
    if train.batch_size % train.group:
        raise UserError(
            f"train.batch_size={train.batch_size}: expected a multiple of train.group={train.group}, "
            f"the number of shapes that HAF compares; give both, as in "
            f"train.batch_size={train.batch_size} train.group={_divisor(train.batch_size, train.group)}"
        )
    if config.data.points < config.model.points:
        raise UserError(
            f"data.points={config.data.points}: the model reads {config.model.points}; raise data.points "
            "or choose a smaller model"
        )
    model, env = config.model, config.env
    if config.memory == "off" and config.agent.name != "none" and set(env.families) <= LIBRARY_FAMILIES:
        raise UserError(
            f"memory=off: without known pairs env.families=[{','.join(env.families)}] has nothing to act on; "
            "name others too, as in env.families=[level,temperature,token,stop], or choose agent=none"
        )
    dap = config.dap
    if (
        dap.mode == "distill"
        and not dap.score_weight
        and config.agent.name != "none"
        and set(env.families) <= LIBRARY_FAMILIES
    ):
        raise UserError(
            f"dap.mode=distill: env.families=[{','.join(env.families)}] change no attention to distill; "
            "name others too, as in env.families=[level,temperature,token,stop], or give dap.score_weight=1"
        )
    layout = AttentionDims(
        (model.patches, model.regions, OBJECT_NODES), model.heads, model.regions, env.token_groups
    )
    try:
        ActionCatalogue(env.families, layout, env.limit, env.steps)
    except ValueError as error:
        raise UserError(f"env.{error}") from error


def _divisor(number: int, most: int) -> int:
    """The largest divisor from 2 to ``most``, or the number itself."""
    return next((d for d in range(most, 1, -1) if number % d == 0), number)
