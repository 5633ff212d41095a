"""Views of shapes: the right colors at the right places, whole shapes, no mirror images, other formats."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align3d.captioning.rendered_views import draw_item, draw_points, draw_surface
from align3d.captioning.view_geometry import DIRECTIONS, cameras
from align3d.errors import RejectedItem
from align3d.sources import Item, make_source
from align3d.sources.drawn_surface import DrawnSurface
from tests.align3d.toy_source import CORNERS, FACES, Boxes

SIZE = 64
BOX = (CORNERS - 0.5)[FACES]
#: Left -x red, right +x green, front -y blue, back +y yellow, bottom magenta, top cyan; two triangles each.
COLORS = np.repeat(
    np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]]), 2, axis=0
).astype(np.uint8)


def order_of_faces() -> np.ndarray:
    """The color of each of the toy's faces, by the direction in which it looks."""
    middle = BOX.mean(axis=1)
    axis = np.abs(middle).argmax(axis=1)
    side = 2 * axis + (middle[np.arange(len(middle)), axis] > 0)
    return COLORS[2 * side]


FACE_COLORS = order_of_faces()
CUBE = DrawnSurface(BOX, lambda face, weights: FACE_COLORS[face])


def hues(picture: np.ndarray) -> set[tuple[int, int, int]]:
    """Colors of at least 30 pixels, with the light taken out; edges blend with the white background."""
    pixels = picture.reshape(-1, 3).astype(int)
    pixels = pixels[pixels.min(axis=1) < 40]
    bright = [tuple(int(255 * (one > 0.6 * pixel.max())) for one in pixel) for pixel in pixels]
    return {color for color in set(bright) if bright.count(color) >= 30}  # type: ignore[misc]


def test_each_view_shows_the_sides_that_look_to_it() -> None:
    views = draw_surface(CUBE, 6, SIZE)
    red, green, blue, yellow = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    magenta, cyan = (255, 0, 255), (0, 255, 255)
    assert [hues(view) for view in views[:4]] == [
        {green, yellow, cyan},
        {yellow, red, cyan},
        {red, blue, cyan},
        {blue, green, cyan},
    ]
    assert cyan in hues(views[4])
    assert magenta not in hues(views[4])
    assert magenta in hues(views[5])


def test_no_view_is_a_mirror_image() -> None:
    """Seen from the azimuth of 30 degrees, what lies at 0 degrees is to the left of what lies at 90."""
    view = draw_surface(CUBE, 1, SIZE)[0].astype(int)
    green = np.argwhere((view[..., 1] > 120) & (view[..., 0] < 60) & (view[..., 2] < 60))
    yellow = np.argwhere((view[..., 1] > 60) & (view[..., 0] > 60) & (view[..., 2] < 60))
    assert len(green) > 100
    assert len(yellow) > 30
    assert green[:, 1].mean() < yellow[:, 1].mean()
    top = np.argwhere((view[..., 2] > 60) & (view[..., 0] < 40))
    assert top[:, 0].mean() < green[:, 0].mean()  # z is up


def test_colors_are_those_of_the_place_on_the_triangle() -> None:
    corners = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=float)
    triangle = np.array([[[0.0, -1.0, -1.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]]])
    surface = DrawnSurface(triangle, lambda face, weights: np.round(weights @ corners).astype(np.uint8))
    view = draw_surface(surface, 1, SIZE)[0].astype(int)  # from +x: y to the right, z up
    seen = (view < 240).any(axis=-1)
    rows, columns = np.nonzero(seen)
    low, high = rows.max() - 2, rows.min() + 3
    left, right = columns.min() + 4, columns.max() - 4
    assert view[low - 1, left].argmax() == 0
    assert view[low - 1, right].argmax() == 1
    assert view[high, columns[rows == high].mean().astype(int)].argmax() == 2


@pytest.mark.parametrize("stretch", [(1, 1, 1), (9, 1, 1), (1, 1, 9), (1, 9, 0.01)])
def test_every_view_shows_the_whole_shape_as_large_as_it_fits(stretch: tuple[float, ...]) -> None:
    gray = DrawnSurface(
        BOX * stretch + 5.0, lambda face, weights: np.full((len(face), 3), 90, dtype=np.uint8)
    )
    for view in draw_surface(gray, len(DIRECTIONS), SIZE):
        seen = (view < 250).any(axis=-1)
        rows, columns = np.nonzero(seen)
        assert not seen[[0, -1]].any()
        assert not seen[:, [0, -1]].any()
        assert max(np.ptp(rows), np.ptp(columns)) > 0.85 * SIZE


def test_points_are_drawn_without_gaps() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    colors = np.where(points[:, :1] > 0, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    views = draw_points(points, colors, 3, SIZE)
    for view in views:
        rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
        inside = rows**2 + columns**2 < (0.4 * SIZE) ** 2
        assert (view[inside] < 250).any(axis=-1).all()
    assert hues(views[0]) >= {(255, 0, 0)}
    assert views[0].reshape(-1, 3)[:, 0].sum() > views[0].reshape(-1, 3)[:, 2].sum()
    assert views[2].reshape(-1, 3)[:, 0].sum() < views[2].reshape(-1, 3)[:, 2].sum()


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.array([[0.0, 0, 0], [1, 0, 0]])])
def test_few_points_are_drawn_too(points: np.ndarray) -> None:
    (view,) = draw_points(points, np.zeros((len(points), 3), dtype=np.uint8), 1, SIZE)
    assert (view < 250).any()


def test_triangles_that_are_none_are_left_out() -> None:
    broken = np.concatenate([np.full((2, 3, 3), np.nan), BOX])
    surface = DrawnSurface(
        broken, lambda face, weights: np.where(face[:, None] < 2, 0, FACE_COLORS[face - 2])
    )
    np.testing.assert_array_equal(draw_surface(surface, 1, SIZE), draw_surface(CUBE, 1, SIZE))
    with pytest.raises(RejectedItem, match="no triangle"):
        draw_surface(DrawnSurface(broken[:2], CUBE.colors), 1, SIZE)


@pytest.mark.parametrize("corners", [np.zeros((3, 3)), np.full((3, 3), 1e300), np.arange(9.0).reshape(3, 3)])
def test_a_shape_of_which_nothing_can_be_seen_is_not_drawn(corners: np.ndarray) -> None:
    class Unseen:
        def surface(self, item: Item) -> DrawnSurface:
            return DrawnSurface(corners[None], CUBE.colors)

    boxes = Boxes(1)
    (item,) = boxes.items()
    with pytest.raises(RejectedItem, match="nothing of it can be seen"):
        draw_item(Unseen(), item, boxes.read(item, 16, 0), 2, SIZE)  # type: ignore[arg-type]


def test_files_of_a_folder_are_drawn_upright_and_in_their_colors(tmp_path: Path) -> None:
    lines = [
        f"v {x} {y} {z} {0.9 if y > 0 else 0.1} 0.1 {0.1 if y > 0 else 0.9}"
        for x, y, z in CORNERS - [0, 0.5, 0]
    ]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in FACES]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    (tmp_path / "captions.csv").write_text("path,caption,up\nbox.obj,a box,y\n")
    source = make_source("folder", root=str(tmp_path))
    (item,) = source.items()
    (data,) = draw_item(source, item, source.read(item, 64, 0), 1, SIZE)
    view = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert view.shape == (SIZE, SIZE, 3)
    upper, lower = view[: SIZE // 2], view[SIZE // 2 :]
    dark = [(half < 250).any(axis=-1) for half in (upper, lower)]
    assert upper[dark[0]][:, 0].mean() > upper[dark[0]][:, 2].mean()  # y was up, and red
    assert lower[dark[1]][:, 0].mean() < lower[dark[1]][:, 2].mean()


def test_no_display_and_no_graphics_library_is_loaded(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from tests.align3d.captioning.test_rendered_views import CUBE, SIZE, draw_surface\n"
        "draw_surface(CUBE, 1, SIZE)\n"
        "maps = open('/proc/self/maps').read()\n"
        "print([name for name in ('libGL', 'libEGL', 'libX11', 'libOSMesa', 'libvulkan') if name in maps])\n"
    )
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_cameras_look_from_different_places() -> None:
    eyes = np.stack([camera.back for camera in cameras(BOX.reshape(-1, 3), len(DIRECTIONS))])
    assert len(np.unique(eyes.round(3), axis=0)) == len(DIRECTIONS) == 26
    assert (eyes[:4, 2] > 0).all()
    assert eyes[4, 2] > 0.9
