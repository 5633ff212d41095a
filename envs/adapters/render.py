"""Picture of an episode: where on the shape the attention lay at first, and where it lies now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from models import Calibration

if TYPE_CHECKING:
    from envs.functional import CalibrationCore
    from envs.runner import Snapshot

INCHES = (9.6, 3.6)
DPI = 100


@torch.no_grad()
def attention_shares(core: CalibrationCore, now: Snapshot, calibration: Calibration) -> Tensor:
    """Share of all attention on each node of the finest level of the paired shape, ``[B, N_0]``.

    The maps, weighed as HAF weighs what they gather: by level gates, heads and token weights. What is left to
    1 falls on the coarser levels.

    Args:
        core: The decision process.
        now: Episodes and their states, batch ``[B]``.
        calibration: Changes of their attention, batch ``[B]``.
    """
    attention = now.episode.attention
    output = core.haf.fuse(attention, calibration)
    rows = torch.arange(len(attention.paired), device=attention.paired.device)
    maps = output.attention[rows, attention.paired, :, :, : core.haf.level_sizes[0]]  # [B, H, T, N_0]
    heads = (core.haf.head[0] + calibration.head[:, 0]).softmax(-1)  # [B, H]
    tokens = output.token_weights * output.gates[..., 0]  # [B, T]
    return torch.einsum("bh,bt,bhtn->bn", heads, tokens, maps)


def draw(core: CalibrationCore, now: Snapshot) -> NDArray[np.uint8]:
    """Draw one episode: attention before, after, and the change between, on the paired shape's finest nodes.

    Args:
        core: The decision process.
        now: One episode and its state, batch ``[1]``.

    Returns:
        The picture, uint8 ``[H, W, 3]``.

    Raises:
        ValueError: Another number of episodes.
    """
    if now.batch_size != (1,):
        raise ValueError(f"{list(now.batch_size)} episodes: expected [1]")
    episode, state = now.episode, now.state
    paired = int(episode.attention.paired[0])
    centers = episode.attention.centers[0, paired, : core.haf.level_sizes[0]].numpy(force=True)  # [N_0, 3]
    before = attention_shares(core, now, state.calibration.apply(torch.zeros_like))[0].numpy(force=True)
    after = attention_shares(core, now, state.calibration)[0].numpy(force=True)
    most = max(float(before.max()), float(after.max()))
    widest = max(float(np.abs(after - before).max()), 1e-9)
    panels = (
        ("before", before, "viridis", 0.0, most),
        ("after", after, "viridis", 0.0, most),
        ("change", after - before, "RdBu_r", -widest, widest),
    )
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (name, share, colors, low, high) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number, projection="3d")
        look = {"cmap": colors, "vmin": low, "vmax": high, "s": 45, "edgecolors": "0.5"}
        points = axes.scatter(
            *centers.T, c=share, depthshade=False, **look
        )  # shading would change the values
        axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1), xticklabels=[], yticklabels=[], zticklabels=[])
        axes.set_title(f"{name}: {share.sum():+.1%}" if name == "change" else f"{name}: {share.sum():.1%}")
        figure.colorbar(points, ax=axes, shrink=0.7)
    steps, gain = int(state.step[0]), float(core.potential(state) - core.potential(core.initial(episode)))
    rank = int((state.evaluation.score[0] > state.evaluation.score[0, paired]).sum()) + 1
    figure.suptitle(
        f"Attention on the finest level of candidate {paired + 1}, now at rank {rank}: "
        f"step {steps} of {core.horizon}, return {gain:+.3f}\n"
        f"library: recall {float(state.calibration.memory[0]):+.2f}, "
        f"hubness {-float(state.calibration.hubness[0]):+.2f}"
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
