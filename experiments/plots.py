"""Pictures of attention: which points of a shape each word looks at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from experiments.data import Corpus
from experiments.embedding import embed_shapes, embed_texts, frozen
from experiments.lifting import lift, points_of_patches, token_maps
from models import AlignmentModel, Calibration

#: Directions from which a shape is drawn: (turn about the up axis, height), in degrees.
VIEWS = ((30.0, 25.0), (-60.0, 15.0))
MOST_WORDS = 8
POINT_SIZE = 3.0
#: From the least to the most attention of a word: pale to dark, for a white page.
ATTENTION_COLORS = "magma_r"


def attention_picture(
    model: AlignmentModel,
    corpus: Corpus,
    index: Tensor,
    device: torch.device,
    calibration: Calibration | None = None,
    path: Path | None = None,
) -> NDArray[np.uint8]:
    """Draws a shape in its colours and once for each word of its first caption, dark where the word looks.

    Args:
        model: a model.
        corpus: the data.
        index: ``[1]`` the shape.
        device: where the model is.
        calibration: batch ``[1]``, of the caption's attention.
        path: also saves the picture there.

    Returns:
        ``[height, width, 3]`` RGB.
    """
    caption = corpus.first_texts(index)
    with frozen(model):
        text, shape = embed_texts(model, corpus, caption, device), embed_shapes(model, corpus, index, device)
        candidates = torch.zeros(1, 1, dtype=torch.int64, device=device)
        state = model.attend(text, shape, candidates)
        output = model.haf.fuse(state, calibration)
    words = corpus.text.strings[int(caption)]
    weights = output.token_weights[0, : len(words)].cpu()
    shown = weights.topk(min(MOST_WORDS, len(words))).indices.sort().values.tolist()
    patch = corpus.shapes.patch_of_point[index].long()  # [1, P]
    patches = model.haf.level_sizes[0]
    maps = token_maps(model.haf, output, calibration).cpu()
    lifted = lift(
        maps, shape.region[:, :patches].cpu(), points_of_patches(patch, patches), model.haf.level_sizes
    )
    count = patch.shape[1]
    points = torch.from_numpy(corpus.dataset.points(index.tolist())[0, :count].astype(np.float32))
    colors = torch.from_numpy(corpus.dataset.colors(index.tolist())[0, :count] / 255.0).float()
    light = [lifted[0, t, patch[0]] for t in shown]
    titles = [f"{words[t]}  {100 * float(weights[t]):.0f} %" for t in shown]
    cloud = _upright(points, corpus.dataset.up_axis)
    return _draw(cloud, colors, light, titles, corpus.captions[int(caption)], path)


def _upright(points: Tensor, up_axis: str) -> Tensor:
    """Turns the up axis to z: ``[P, 3]``."""
    up = "xyz".index(up_axis)
    return points[:, [(up + 1) % 3, (up + 2) % 3, up]]


def _project(points: Tensor, turn: float, height: float) -> tuple[Tensor, Tensor]:
    """Orthographic view: ``[P, 2]`` places in the picture and ``[P]`` depth, nearer is larger."""
    a, e = np.deg2rad(turn), np.deg2rad(height)
    right = torch.tensor([-np.sin(a), np.cos(a), 0.0], dtype=points.dtype)
    ahead = torch.tensor([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], dtype=points.dtype)
    above = torch.linalg.cross(ahead, right)
    return torch.stack([points @ right, points @ above], dim=1), points @ ahead


def _draw(
    cloud: Tensor, colors: Tensor, light: list[Tensor], titles: list[str], caption: str, path: Path | None
) -> NDArray[np.uint8]:
    columns = 1 + len(light)
    figure = Figure(figsize=(1.7 * columns, 1.9 * len(VIEWS) + 0.4), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(VIEWS), columns, squeeze=False)
    for row, view in enumerate(VIEWS):
        places, depth = _project(cloud, *view)
        order = depth.argsort()
        for column in range(columns):
            axis = axes[row, column]
            shade = colors if column == 0 else light[column - 1]
            axis.scatter(
                *places[order].T.numpy(),
                c=shade[order].numpy(),
                s=POINT_SIZE,
                linewidths=0,
                **({} if column == 0 else {"cmap": ATTENTION_COLORS}),
            )
            axis.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
            axis.axis("off")
            if row == 0:
                axis.set_title("shape" if column == 0 else titles[column - 1], fontsize=8)
    figure.suptitle(caption if len(caption) < 110 else caption[:107] + "…", fontsize=9)
    canvas.draw()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
