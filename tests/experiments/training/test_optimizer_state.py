"""What an optimizer takes over: its own state alone."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.training.optimizer_state import check_optimizer_state

State = dict[str, Any]


@pytest.fixture
def optimizer() -> torch.optim.Optimizer:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    return optimizer


def group(**values: Any) -> Callable[[State], None]:
    return lambda state: state["param_groups"][0].update(values)


def moment(number: int, **values: Any) -> Callable[[State], None]:
    return lambda state: state["state"][number].update(values)


def test_its_own_state_with_another_learning_rate(optimizer: torch.optim.Optimizer) -> None:
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.01
    check_optimizer_state(state, optimizer)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (group(betas=(0.9, torch.ones(16))), "betas"),
        (group(betas=[0.9, 0.999]), "betas"),
        (group(eps=1), "eps"),
        (group(weight_decay=True), "weight_decay"),
        (group(lr=float("nan")), "lr"),
        (group(lr=torch.ones(())), "lr"),
        (group(params=[1, 0]), "params"),
        (group(more=1), "more"),
        (lambda state: state["param_groups"].append({}), "2 groups"),
        (lambda state: state["state"].update({2: {}}), "no parameter 2"),
        (lambda state: state["state"].update({"1": {}}), "no parameter 1"),
        (moment(0, exp_avg=torch.ones(2)), r"exp_avg of parameter 0 is not a tensor of shape \[2, 3\]"),
        (moment(1, step=torch.ones(2)), "step of parameter 1"),
        (moment(1, exp_avg_sq=0.5), "exp_avg_sq"),
    ],
)
def test_another_state_is_refused(
    optimizer: torch.optim.Optimizer, change: Callable[[State], None], word: str
) -> None:
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    with pytest.raises(ValueError, match=word):
        check_optimizer_state(state, optimizer)
