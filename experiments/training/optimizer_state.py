"""Check of an optimizer's saved state against the optimizer that takes it over.

PyTorch compares the number of parameters alone: moments of another shape, or a coefficient that is no number,
would be noticed in the middle of the next step.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

SCHEDULED = "lr"
"""The one setting of a group that training changes."""


def check_optimizer_state(state: dict[str, Any], optimizer: Optimizer) -> None:
    """Refuse a state that is not of this optimizer.

    Args:
        state: What ``optimizer.state_dict()`` is to become.
        optimizer: Has the settings and the parameters that a run begins with.

    Raises:
        ValueError: Another setting, another order of the parameters, moments of another shape or type, or a
            learning rate that is not a finite number from 0.
    """
    groups, wanted = state["param_groups"], optimizer.state_dict()["param_groups"]
    if len(groups) != len(wanted):
        raise ValueError(f"{len(groups)} groups of parameters, expected {len(wanted)}")
    for group, expected in zip(groups, wanted, strict=True):
        for name in group.keys() | expected.keys():
            found = group.get(name)
            if name == SCHEDULED:
                if not isinstance(found, float) or not 0 <= found < math.inf:
                    raise ValueError(f"{name} of the optimizer is not a finite number from 0")
            elif name not in expected or repr(found) != repr(expected[name]):  # types as well
                raise ValueError(f"{name} of the optimizer is not {expected.get(name)!s:.80}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in state["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"the optimizer has no parameter {number!s:.80}")
        for name, moment in moments.items():
            shape = () if name == "step" else tuple(parameters[number].shape)
            if not isinstance(moment, Tensor) or tuple(moment.shape) != shape:
                raise ValueError(f"{name} of parameter {number} is not a tensor of shape {list(shape)}")
