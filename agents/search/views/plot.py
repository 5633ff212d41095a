"""Picture of a search: where it went, what it found there, and the line that it chose, in words."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from agents.search.tree import UNVISITED, Tree
from durable.whole_files import replacing

Criterion = Literal["visits", "best"]
"""Of the line that is drawn as chosen: most visits and then the mean return, or the best return found."""

COLORS = "viridis"
CHOSEN, OTHER, TEXT = "#d1495b", "#b8bcc4", "#333333"
LARGEST, SMALLEST = 900.0, 60.0
"""Areas of the most and the least visited node, in square points."""


@dataclass
class Spot:
    """A node in the picture.

    Attributes:
        node: Its position in the tree.
        action: What led here, -1 at the root.
        visits: Of that edge; at the root, of all its edges.
        value: Mean or best return through that edge; at the root, over all visits.
        depth: Moves from the root.
        across: Where it stands among the leaves.
        children: What it leads to.
    """

    node: int
    action: int
    visits: int
    value: float
    depth: int
    across: float = 0.0
    children: list[Spot] = field(default_factory=list)


def returns_of(tree: Tree, criterion: Criterion) -> Tensor:
    """Give what each edge is judged by besides its visits, float `[B, N, A]`."""
    return tree.best if criterion == "best" else tree.q_values


def best_line(
    tree: Tree, row: int = 0, first: int | None = None, criterion: Criterion = "visits"
) -> list[int]:
    """Follow the chosen line from the root: as far as was visited, or as long as something can be gained.

    Args:
        tree: Tree after a search.
        row: Row to follow.
        first: Action to begin with, such as the one that was decided on; the chosen one when left out.
        criterion: What chooses: most ``visits``, ties broken by the mean return, or the ``best`` return
            found, which has to be above zero.
    """
    line: list[int] = []
    node = int(tree.root[row])
    while node != UNVISITED and not bool(tree.terminal[row, node]):
        visits, values = tree.visits[row, node], returns_of(tree, criterion)[row, node]
        eligible = visits > 0
        if criterion == "visits":
            eligible &= visits == visits.max()
        elif first is None or line:
            eligible &= values > 0
        if not bool(eligible.any()):
            break
        action = int(values.masked_fill(~eligible, -np.inf).argmax())
        if first is not None and not line:
            action = first
        line.append(action)
        node = int(tree.children[row, node, action])
    return line


def draw_search(
    tree: Tree,
    row: int = 0,
    names: Sequence[str] | None = None,
    first: int | None = None,
    most: int = 24,
    path: Path | str | None = None,
    criterion: Criterion = "visits",
) -> NDArray[np.uint8]:
    """Draw one row: nodes as large as their visits, colored by return, the chosen line on top and in words.

    Args:
        tree: Tree after a search.
        row: Row to draw.
        names: Names of the actions, such as ``core.action_names``; numbers when left out.
        first: Action that was decided on, as ``best_line`` takes it.
        most: Largest number of nodes to draw: the most visited ones. The picture says how many are left out.
        path: File to write the picture to as well, of the kind that its suffix says (``.png``, ``.svg``,
            ``.pdf``).
        criterion: What chooses the line, as ``best_line`` takes it; nodes show the mean or the best return.

    Returns:
        The picture, RGB `[height, width, 3]`.

    Raises:
        ValueError: ``most`` leaves no room for a node besides the root, or there are too few names.
    """
    if most < 2:
        raise ValueError(f"most={most}: must be 2 or more, for the root and what it leads to")
    if names is not None and len(names) < tree.actions:
        raise ValueError(f"names: there are {len(names)}, but the tree has {tree.actions} actions")
    named = [str(action) for action in range(tree.actions)] if names is None else list(names)
    line = best_line(tree, row, first, criterion)
    root = gather(tree, row, line, most, criterion)
    leaves = place(root, 0)
    spots = walk(root)
    depth = max(spot.depth for spot in spots)

    longest = max((len(named[spot.action]) for spot in spots if spot.action >= 0), default=1)
    width = 2.2 + max(depth, 1) * (1.3 + 0.075 * longest)
    figure = Figure(figsize=(max(width, 6.0), 1.5 + 0.36 * max(leaves, 3)), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [spot.value for spot in spots]
    scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1e-9)
    area = LARGEST / max([1, *(spot.visits for spot in spots[1:])])

    chosen = on_line(root, line)
    for spot in spots:
        for child in spot.children:
            draw_edge(axes, spot, child, named[child.action], {spot.node, child.node} <= chosen, area)
    axes.scatter(
        [spot.depth for spot in spots],
        [spot.across for spot in spots],
        s=[size_of(spot, area) for spot in spots],
        c=[colormaps[COLORS](scale(spot.value)) for spot in spots],
        edgecolors=[CHOSEN if spot.node in chosen else "white" for spot in spots],
        linewidths=[2.0 if spot.node in chosen else 0.8 for spot in spots],
        zorder=5,
    )
    words = ", then ".join(named[action] for action in line)
    if not words:
        words = "nothing: no return above zero" if root.visits else "nothing: nothing was searched"
    hidden = count(tree, row) - len(spots)
    below = f"{root.visits} visits" + (f", {hidden} nodes with fewer visits left out" if hidden > 0 else "")
    axes.set_title(f"{words}\n", fontsize=11, color=CHOSEN, fontweight="bold", loc="left")
    axes.text(0, 1.0, below, transform=axes.transAxes, fontsize=8, color="#555555", va="bottom")
    axes.set_xlim(-0.35, depth + 0.6)
    axes.set_ylim(leaves - 0.4, -0.6)
    axes.axis("off")
    figure.colorbar(
        ScalarMappable(scale, COLORS),
        ax=axes,
        label=f"{'best' if criterion == 'best' else 'mean'} return",
        fraction=0.03,
        pad=0.01,
    )
    canvas.draw()
    if path is not None:
        with replacing(Path(path)) as beside:
            figure.savefig(beside)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_edge(axes: Axes, spot: Spot, child: Spot, name: str, chosen: bool, area: float) -> None:
    """Draw an edge, its action before the node that it leads to, and what is known of it behind that."""
    # Most of the way up or down is made before the words begin.
    early, late = spot.depth + 0.35, spot.depth + 0.25
    corners = [(spot.depth, spot.across), (early, spot.across), (late, child.across)]
    curve = bezier(np.array([*corners, (child.depth, child.across)], np.float64))
    axes.plot(
        *curve.T, color=CHOSEN if chosen else OTHER, lw=2.6 if chosen else 1.0, zorder=2 if chosen else 1
    )
    radius = 0.5 * size_of(child, area) ** 0.5
    styles: tuple[tuple[str, float, dict[str, Any]], ...] = (
        (name, -radius - 5, {"ha": "right", "fontsize": 8, "fontweight": "bold" if chosen else "normal"}),
        (f"{child.visits}× {child.value:+.3g}", radius + 5, {"ha": "left", "fontsize": 7}),
    )
    for text, offset, style in styles:
        axes.annotate(
            text,
            (child.depth, child.across),
            xytext=(offset, 0),
            textcoords="offset points",
            va="center",
            color=CHOSEN if chosen else TEXT,
            bbox={"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none"},  # over the lines
            zorder=3,
            **style,
        )


def on_line(root: Spot, line: Sequence[int]) -> set[int]:
    """Find the nodes that a line of actions passes, the root included."""
    spot, found = root, {root.node}
    for action in line:
        for child in spot.children:
            if child.action == action:
                spot = child
        found.add(spot.node)
    return found


def gather(tree: Tree, row: int, line: Sequence[int], most: int, criterion: Criterion) -> Spot:
    """Gather the root and what is drawn below it: the chosen line, then the most visited, ``most`` in all."""
    children, visits = tree.children[row].tolist(), tree.visits[row].tolist()
    values = returns_of(tree, criterion)[row].tolist()
    node = int(tree.root[row])
    total = sum(visits[node])
    found = [(count, value) for count, value in zip(visits[node], values[node], strict=True) if count]
    if criterion == "best":
        value = max((value for _, value in found), default=0.0)
    else:
        value = sum(count * value for count, value in found) / max(total, 1)
    root = Spot(node, -1, total, value, 0)
    preferred = set()
    for action in line:
        node = children[node][action]
        preferred.add(node)
    # A child has fewer visits than its parent, so whatever comes next hangs on what is there.
    waiting: list[tuple[bool, int, int, int, Spot]] = []
    spot, added = root, 1
    while True:
        for action, child in enumerate(children[spot.node]):
            if child != UNVISITED:
                count = visits[spot.node][action]
                heapq.heappush(waiting, (child not in preferred, -count, child, action, spot))
        if added == most or not waiting:
            return root
        _, count, child, action, parent = heapq.heappop(waiting)
        spot = Spot(child, action, -count, values[parent.node][action], parent.depth + 1)
        parent.children.append(spot)
        added += 1


def place(spot: Spot, leaves: int) -> int:
    """Put every leaf on a line of its own, most visited first, and every parent amid its children."""
    spot.children.sort(key=lambda child: -child.visits)
    if not spot.children:
        spot.across = leaves
        return leaves + 1
    for child in spot.children:
        leaves = place(child, leaves)
    spot.across = (spot.children[0].across + spot.children[-1].across) / 2
    return leaves


def walk(spot: Spot) -> list[Spot]:
    """List a node and all below it."""
    return [spot, *(below for child in spot.children for below in walk(child))]


def count(tree: Tree, row: int) -> int:
    """Count the nodes at and below the root."""
    total, waiting = 0, [int(tree.root[row])]
    while waiting:
        total += 1
        found = tree.children[row, waiting.pop()]
        waiting += found[found != UNVISITED].tolist()
    return total


def size_of(spot: Spot, area: float) -> float:
    """Give the area of a node in the picture, in square points."""
    return min(max(area * spot.visits, SMALLEST), LARGEST)


def bezier(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a smooth curve `[n, 2]` from the first to the last of four points `[4, 2]`."""
    t = np.linspace(0, 1, 24)
    return np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3], 1) @ points
