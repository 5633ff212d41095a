"""State of training that several processes have in common, or each for itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from align3d.errors import UserError
from experiments.console.process import seed_everything
from experiments.run_folder import checkpoint

if TYPE_CHECKING:
    from experiments.processes.process_group import Processes


def moved(value: Any, device: torch.device) -> Any:
    """A nested value with its tensors on a device."""
    tensors: dict[str, Tensor] = {}
    plain = checkpoint.pack(value, tensors)
    return checkpoint.unpack(plain, {name: tensor.to(device) for name, tensor in tensors.items()})


def next_state(seed: int, rank: int, step: int) -> dict[str, Any]:
    """State of the global generators of a process that has none yet, see `checkpoint.random_state`.

    Args:
        seed: Of the run.
        rank: Number of the process.
        step: From which on it trains.
    """
    before = checkpoint.random_state()
    seed_everything(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))
    found = checkpoint.random_state()
    checkpoint.restore_random_state(before)
    return found


def check_weights(processes: Processes, model: nn.Module, step: int) -> None:
    """Refuse to go on with weights that are not the same in all processes.

    Raises:
        UserError: They are not; in all processes.
    """
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    first, *others = processes.everyone(digest.hexdigest())
    apart = [rank for rank, other in enumerate(others, 1) if other != first]
    if apart:
        raise UserError(
            f"after step {step} process {apart[0]} has other weights than process 0; processors that round "
            "alike are needed: use machines of one kind, and the same threads= everywhere"
        )
