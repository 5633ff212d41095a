"""Flat tensors by name that hold the state of an agent: no pickle, equal names when saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer, as ``index of the parameter/name``."""
    return {
        f"{index}/{name}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what ``optimizer_tensors`` returned; settings such as the learning rate stay.

    Raises:
        KeyError: A parameter lacks a tensor that another one has.
        RuntimeError: A tensor has another shape than its parameter.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = value
    # The optimizer itself would accept anything, and fail at its next step.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {name for moment in moments.values() for name in moment}
    for number, moment in moments.items():
        for name in sorted(names):
            value = moment[name]
            if value.dim() > 0 and value.shape != parameters[number].shape:
                expected, got = list(parameters[number].shape), list(value.shape)
                raise RuntimeError(f"optimizer/{number}/{name}: expected {expected}, got {got}")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def flat(**parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of all tensors, as ``part/name``."""
    return {
        f"{part}/{name}": value.detach().clone()
        for part, tensors in parts.items()
        for name, value in tensors.items()
    }


def by_part(state: Mapping[str, Tensor], agent: str, *parts: str) -> dict[str, dict[str, Tensor]]:
    """Split a state into its parts again, as copies on the CPU, where agents are made.

    Args:
        state: Result of ``flat``.
        agent: Name of the agent that it should belong to, for the message.
        parts: All parts that are known; ``state`` need not have all of them.

    Raises:
        ValueError: The state has a part that is not known.
    """
    found: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    for name, value in state.items():
        part, _, key = name.partition("/")
        if part not in found:
            raise ValueError(f"{agent}: does not know the state's {name}; it is of another agent")
        found[part][key] = value.cpu().clone()
    return found
