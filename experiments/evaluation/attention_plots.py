"""Pictures of attention: which points of a shape each word looks at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from align3d.naming import mentions
from durable.whole_files import replacing
from experiments.data.attention_maps import points_of_patches, word_lights
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts, frozen
from experiments.evaluation.shape_views import VIEW_NAMES, VIEWS, View, project, upright
from models import AlignmentModel, Calibration

MOST_WORDS = 12
PANEL_HEIGHT = 1.7  # inches
MOST_WIDTH = 14.0  # inches of all panels of a row
POINT_SIZE = 3.0
#: From the least to the most attention of a word: pale to dark, for a white page.
ATTENTION_COLORS = "magma_r"
WORDS_LEGEND = "Points are dark where a word looks, pale elsewhere. Per cent: the word's weight in the score."
PARTS_LEGEND = (
    "First row: each part that is named, with its share of the surface. Below: where the words that name it "
    "look, and how many times that share the attention on it is."
)


class Row(NamedTuple):
    """A row of a picture.

    Attributes:
        label: Stands on the left.
        view: Direction from which the shape is seen.
        panels: Titles with what shades the points: colors ``[P, 3]`` or one value per point ``[P]``.
    """

    label: str
    view: View
    panels: list[tuple[str, Tensor]]


def attention_picture(
    model: AlignmentModel,
    corpus: Corpus,
    index: Tensor,
    device: torch.device,
    calibration: Calibration | None = None,
    path: Path | None = None,
) -> NDArray[np.uint8]:
    """Draws a shape in its colors and once for each word of its first caption, dark where the word looks.

    Args:
        model: A model.
        corpus: The data.
        index: ``[1]`` the shape.
        device: Where the model is.
        calibration: Batch ``[1]``, of the caption's attention.
        path: Also saves the picture there.

    Returns:
        ``[height, width, 3]`` RGB.
    """
    caption = corpus.first_texts(index)
    weights, light = word_attention(model, corpus, index, device, calibration)
    words = corpus.text.strings[int(caption)]
    shown = weights.topk(min(MOST_WORDS, len(words))).indices.sort().values.tolist()
    cloud, colors = upright_cloud(corpus, index)
    panels = [("shape", colors)]
    panels += [(f"{words[t]}\n{100 * float(weights[t]):.0f} %", light[t]) for t in shown]
    bare = [("", shade) for _, shade in panels]
    rows = [
        Row(name, view, titled) for name, view, titled in zip(VIEW_NAMES, VIEWS, (panels, bare), strict=True)
    ]
    return _draw(cloud, rows, corpus.captions[int(caption)], WORDS_LEGEND, path)


def parts_picture(
    model: AlignmentModel,
    corpus: Corpus,
    index: Tensor,
    device: torch.device,
    calibration: Calibration | None = None,
    path: Path | None = None,
) -> NDArray[np.uint8]:
    """Draws the parts that a shape's first caption names, and below each where the words that name it look.

    Above stands the part's share of the surface; below, how many times that share the attention on it is, as
    in `experiments.evaluation.grounding`, and under a calibration the same once more.

    Args:
        model: A model.
        corpus: The data.
        index: ``[1]`` the shape.
        device: Where the model is.
        calibration: Batch ``[1]``, of the caption's attention; adds a row.
        path: Also saves the picture there.

    Returns:
        ``[height, width, 3]`` RGB; without a named part, the shape alone.
    """
    caption = int(corpus.first_texts(index))
    names, words = corpus.dataset.part_names[int(index)], corpus.text.strings[caption]
    cloud, colors = upright_cloud(corpus, index)
    labels = torch.from_numpy(corpus.dataset.part(index.tolist())[0, : len(cloud)])
    found = mentions(words, names, corpus.dataset.categories[int(index)])[:MOST_WORDS]
    parts = [torch.isin(labels, torch.tensor(mention.parts, dtype=labels.dtype)).float() for mention in found]
    spoken = [" ".join(words[place] for place in mention.words) for mention in found]
    titles = [f"{word}: {part.mean():.0%}" for word, part in zip(spoken, parts, strict=True)]
    rows = [Row("named part", VIEWS[0], [("shape", colors), *zip(titles, parts, strict=True)])]
    states = [("HAF", None)] if calibration is None else [("HAF", None), ("calibrated", calibration)]
    for name, changed in states if found else ():
        _, light = word_attention(model, corpus, index, device, changed)
        own = [light[list(mention.words)].mean(0) for mention in found]
        ratios = [(x @ part) / x.sum() / part.mean() for x, part in zip(own, parts, strict=True)]
        panels = [(f"× {ratio:.2f}", x) for ratio, x in zip(ratios, own, strict=True)]
        rows.append(Row(name, VIEWS[0], [("", colors), *panels]))
    return _draw(cloud, rows, corpus.captions[caption], PARTS_LEGEND if found else "", path)


def word_attention(
    model: AlignmentModel,
    corpus: Corpus,
    index: Tensor,
    device: torch.device,
    calibration: Calibration | None,
) -> tuple[Tensor, Tensor]:
    """Weights ``[T]`` of the words of a first caption, and ``[T, P]`` their attention to the points."""
    caption = corpus.first_texts(index)
    with frozen(model):
        text, shape = embed_texts(model, corpus, caption, device), embed_shapes(model, corpus, index, device)
        state = model.attend(text, shape, torch.zeros(1, 1, dtype=torch.int64, device=device))
        output = model.haf.fuse(state, calibration)
        patches = model.haf.level_sizes[0]
        patch = corpus.shapes.patch_of_point[index].long()  # [1, P]
        points = points_of_patches(patch, patches).to(device)
        lights = word_lights(model.haf, output, shape.region[:, :patches], points, calibration)
    count = len(corpus.text.strings[int(caption)])
    return output.token_weights[0, :count].cpu(), lights["fused"].cpu()[0, :count, patch[0]]


def upright_cloud(corpus: Corpus, index: Tensor) -> tuple[Tensor, Tensor]:
    """The points of a shape that the model reads, z up, and their colors in ``[0, 1]``: each ``[P, 3]``."""
    count = corpus.shapes.patch_of_point.shape[1]
    points = torch.from_numpy(corpus.dataset.points(index.tolist())[0, :count].astype(np.float32))
    colors = torch.from_numpy(corpus.dataset.colors(index.tolist())[0, :count] / 255.0).float()
    return upright(points, corpus.dataset.up_axis), colors


@mpl.rc_context({"text.parse_math": False})  # captions with dollars are text
def _draw(
    cloud: Tensor, rows: Sequence[Row], caption: str, legend: str, path: Path | None
) -> NDArray[np.uint8]:
    columns = max(len(row.panels) for row in rows)
    views = [project(cloud, *row.view) for row in rows]
    right, above = torch.cat([places for places, _ in views]).abs().amax(0).clamp(min=0.05).tolist()
    height = min(PANEL_HEIGHT, MOST_WIDTH / columns * above / right)
    width = max(0.9, height * right / above)
    figure = Figure(figsize=(width * columns + 0.5, (height + 0.25) * len(rows) + 0.7), dpi=130)
    figure.set_layout_engine("constrained", wspace=0.02, hspace=0.02)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for number, (row, (places, depth)) in enumerate(zip(rows, views, strict=True)):
        order = depth.argsort()
        for axis, (title, shade) in zip(axes[number], row.panels, strict=True):
            axis.scatter(
                *places[order].T.numpy(),
                c=shade[order].numpy(),
                s=POINT_SIZE,
                linewidths=0,
                **({} if shade.ndim == 2 else {"cmap": ATTENTION_COLORS}),
            )
            axis.set(xlim=(-1.05 * right, 1.05 * right), ylim=(-1.05 * above, 1.05 * above), aspect="equal")
            axis.axis("off")
            if title:
                axis.set_title(title, fontsize=8)
        left = axes[number, 0]
        left.text(
            -0.05, 0.5, row.label, rotation=90, ha="right", va="center", fontsize=8, transform=left.transAxes
        )
    across = int(16 * figure.get_figwidth())  # characters
    heading = textwrap.shorten(caption, 110, placeholder=" …")
    figure.suptitle(textwrap.fill(f"“{heading}”", across), fontsize=9)
    if legend:
        figure.supxlabel(textwrap.fill(legend, across), fontsize=7, color="#555555")
    canvas.draw()
    if path is not None:
        with replacing(path) as beside:
            figure.savefig(beside)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
