"""Views of a shape as PNG files, drawn by the processor alone: no display, graphics card or system library.

Surfaces are traced with Embree, which finds the triangle and the place on it behind each pixel; the color
there comes from the same code as the colors of sampled points, textures included. What has no surface is
drawn as points.
"""

from __future__ import annotations

import importlib
import io
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.captioning.view_geometry import Camera, cameras, centered
from align3d.errors import DataError, RejectedItem, UserError
from align3d.hashing import hash_code, hash_json
from align3d.record import Record
from align3d.sampling import rotate_up
from align3d.sources import Item, Source
from align3d.sources.drawn_surface import DrawnSurface

SPLATS = 40_000
"""Points that are read of a shape without a surface."""
_SEED = 0
_FINER = 2
"""Rays along each side of a pixel."""
_AMBIENT = 0.4
_BACKGROUND = 255.0


def check_renderer() -> None:
    """Make sure that surfaces can be drawn.

    Raises:
        UserError: Embree is not installed.
    """
    try:
        importlib.import_module("embreex.rtcore_scene")
    except ImportError as error:
        raise UserError("captioner.steps=views needs embreex: pip install 'align3d[captions]'") from error


def views_fingerprint(count: int, size: int) -> str:
    """Sha256 of what determines the views of a shape, the shape itself aside."""
    code = hash_code("align3d.captioning.rendered_views", "align3d.captioning.view_geometry")
    return hash_json([code, count, size, SPLATS, _SEED])


def draw_item(source: Source, item: Item, record: Record, count: int, size: int) -> list[bytes]:
    """Views of one of a source's items, as PNG files of ``size`` by ``size`` pixels.

    Args:
        source: The source.
        item: The item.
        record: What came of it; its own points are drawn where the source has no surface and no more points.
        count: Number of views.
        size: Width and height of a view in pixels.

    Raises:
        RejectedItem: It cannot be drawn.
    """
    surface = getattr(source, "surface", lambda _: None)(item)
    if surface is not None:
        pictures = draw_surface(surface, count, size)
    else:
        with suppress(RejectedItem, DataError):  # of stored points there may be fewer
            record = source.read(item, SPLATS, _SEED)
        points = rotate_up(record.points.astype(np.float64), record.up_axis)
        pictures = draw_points(points, record.colors, count, size)
    if all((picture == _BACKGROUND).all() for picture in pictures):
        raise RejectedItem("nothing of it can be seen")
    return [_png(picture) for picture in pictures]


def drawn_as(source: Source) -> str:
    """What `draw_item` draws of a source's items: ``surface``, ``points`` or ``stored`` points."""
    if hasattr(source, "surface"):
        return "surface"
    return "stored" if hasattr(source, "stored") else "points"


def draw_surface(surface: DrawnSurface, count: int, size: int) -> list[NDArray[np.uint8]]:
    """Views u8[size, size, 3] of a surface, on white.

    Raises:
        RejectedItem: It has no finite triangle.
    """
    scene_class = importlib.import_module("embreex.rtcore_scene").EmbreeScene
    mesh_class = importlib.import_module("embreex.mesh_construction").TriangleMesh
    sound = np.isfinite(surface.triangles).all(axis=(1, 2))
    if not sound.any():
        raise RejectedItem("no triangle that can be drawn")
    numbers = np.flatnonzero(sound)
    triangles = surface.triangles[numbers]
    middle, radius = centered(triangles.reshape(-1, 3))
    triangles = (triangles - middle) / radius
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    scene = scene_class()
    mesh = mesh_class(scene, triangles.astype(np.float32))  # kept as long as it is traced
    pictures = []
    for camera in cameras(triangles.reshape(-1, 3), count):
        rays = camera.rays(size * _FINER).reshape(-1, 3)
        eyes = np.tile(camera.eye.astype(np.float32), (len(rays), 1))
        hit = scene.run(eyes, rays, output=1)
        seen = np.flatnonzero(hit["primID"] >= 0)
        face = hit["primID"][seen].astype(np.int64)
        u, v = hit["u"][seen].astype(np.float64), hit["v"][seen].astype(np.float64)
        colors = surface.colors(numbers[face], np.stack([1.0 - u - v, u, v], axis=1))
        light = _AMBIENT + (1.0 - _AMBIENT) * np.abs(normals[face] @ _lamp(camera))
        fine = np.full((len(rays), 3), _BACKGROUND)
        fine[seen] = colors * light[:, None]
        pictures.append(_coarser(fine, size))
    del mesh
    return pictures


def draw_points(
    points: NDArray[np.float64], colors: NDArray[np.uint8], count: int, size: int
) -> list[NDArray[np.uint8]]:
    """Views u8[size, size, 3] of points f64[N, 3] with colors u8[N, 3], as squares without gaps between them.

    Edges of depth are darkened, so that a shape of one color still shows its form.
    """
    from scipy.spatial import cKDTree

    middle, radius = centered(points)
    points = (points - middle) / radius
    places, first = np.unique(points, axis=0, return_index=True)
    neighbors = min(9, len(places))
    distances = np.asarray(cKDTree(places).query(places, k=neighbors)[0]).reshape(len(places), -1)[:, -1]
    spacing = 1.25 * float(np.quantile(distances, 0.95))
    return [_splats(camera, places, colors[first], spacing, size) for camera in cameras(places, count)]


def _splats(
    camera: Camera, points: NDArray[np.float64], colors: NDArray[np.uint8], spacing: float, size: int
) -> NDArray[np.uint8]:
    fine = size * _FINER
    plane, depth = camera.project(points)
    column = ((plane[:, 0] + 1.0) / 2.0 * fine).astype(np.int64)
    row = ((1.0 - plane[:, 1]) / 2.0 * fine).astype(np.int64)
    width = int(np.clip(np.ceil(spacing / depth.mean() / camera.half / 2.0 * fine), 1, fine // 20))
    steps = np.arange(width) - width // 2
    order = np.argsort(-depth, kind="stable")  # of two points in a pixel the nearer is painted last
    picture, far = np.full((fine, fine, 3), _BACKGROUND), np.full((fine, fine), np.inf)
    rows = np.clip(row[order, None, None] + steps[None, :, None], 0, fine - 1)
    columns = np.clip(column[order, None, None] + steps[None, None, :], 0, fine - 1)
    picture[rows, columns] = colors[order, None, None].astype(np.float64)
    far[rows, columns] = depth[order, None, None]
    return _coarser((picture * _depth_edges(far, width)[..., None]).reshape(-1, 3), size)


def _depth_edges(depth: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Light f64[H, W] of each pixel: less where neighbors are nearer to the camera (eye-dome lighting)."""
    background = depth.max(where=np.isfinite(depth), initial=0.0) + 0.2
    whole = np.where(np.isfinite(depth), depth, background)
    nearer = np.zeros_like(whole)
    for axis in (0, 1):
        for step in (-reach, reach):
            nearer += np.maximum(0.0, whole - np.roll(whole, step, axis=axis) - 0.01)
    return np.where(np.isfinite(depth), np.exp(-1.5 * np.minimum(nearer, 0.8)), 1.0)


def _lamp(camera: Camera) -> NDArray[np.float64]:
    """Direction to the light, f64[3]: behind the camera, from above and the right."""
    lamp = camera.back + 0.35 * camera.up + 0.2 * camera.right
    return lamp / np.linalg.norm(lamp)


def _coarser(fine: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Pixels as means of the finer ones."""
    blocks = fine.reshape(size, _FINER, size, _FINER, 3)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
