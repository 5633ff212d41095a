"""Geometry and nodes of glTF: each part in its size, at its place, under its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3d.sources.meshes.scene import CloudPart, MeshPart
from tests.align3d.sources.meshes.glb_writer import (
    BOX_FACES,
    BOX_VERTICES,
    PLATE_VERTICES,
    Glb,
)
from tests.align3d.sources.meshes.gltf_scenes import (
    rejection,
    sampled,
    scene_of,
    size,
)


def test_quantized_positions_and_their_scale(tmp_path: Path) -> None:
    glb = Glb("KHR_mesh_quantization")
    padded = np.zeros((8, 4), "u2")
    padded[:, :3] = BOX_VERTICES * 65535
    view = glb.view(padded.tobytes(), byteStride=8)
    glb.node(glb.box(), scale=[2, 1, 1])
    glb.tree["accessors"][0] |= {"bufferView": view, "componentType": 5123, "normalized": True}
    assert size(glb, tmp_path) == [2, 1, 1]
    glb.tree["accessors"][0]["normalized"] = False
    assert size(glb, tmp_path) == [131070, 65535, 65535]
    signed = glb.view(
        np.pad(((BOX_VERTICES * 2 - 1) * 127).astype("i1"), ((0, 0), (0, 1))).tobytes(), byteStride=4
    )
    glb.tree["accessors"][0] |= {"bufferView": signed, "componentType": 5120, "normalized": True}
    assert size(glb, tmp_path) == [4, 2, 2]


def test_sparse_accessors(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    one = glb.view(np.array([7], "u2").tobytes()), glb.view(np.array([[3, 3, 3]], "f4").tobytes())
    corner = {
        "count": 1,
        "indices": {"bufferView": one[0], "componentType": 5123},
        "values": {"bufferView": one[1]},
    }
    glb.tree["accessors"][0]["sparse"] = corner
    assert size(glb, tmp_path) == [3, 3, 3]
    everything = glb.view(np.arange(8, dtype="u2").tobytes()), glb.tree["accessors"][0].pop("bufferView")
    glb.tree["accessors"][0]["sparse"] = {
        "count": 8,
        "indices": {"bufferView": everything[0], "componentType": 5123},
        "values": {"bufferView": everything[1]},
    }
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["accessors"][0]["sparse"] = corner | {
        "indices": {"bufferView": everything[0], "componentType": 5125}
    }
    assert "changes a value that is not there" in rejection(glb, tmp_path)


def test_strips_fans_and_lists_without_indices(tmp_path: Path) -> None:
    strip, fan = PLATE_VERTICES[[0, 1, 3, 2]], PLATE_VERTICES
    normals = []
    for mode, vertices in ((5, strip), (6, fan)):
        glb = Glb()
        glb.node(glb.mesh("plate", vertices, np.arange(4, dtype="u2"), {}, mode=mode))
        (part,) = scene_of(glb, tmp_path).parts
        assert isinstance(part, MeshPart)
        corners = part.vertices[part.faces]
        normals.append(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2])
    np.testing.assert_array_equal(normals, np.full((2, 2), 2.0))  # 2 m2, all facing +z
    glb = Glb()
    glb.node(glb.mesh("box", BOX_VERTICES[BOX_FACES], np.zeros(3, "u2"), {}))
    del glb.tree["meshes"][0]["primitives"][0]["indices"]
    assert len(scene_of(glb, tmp_path).parts[0].faces) == 12  # type: ignore[union-attr]


def test_lines_have_no_surface_and_points_are_a_cloud(tmp_path: Path) -> None:
    line = np.array([[0, 0, 0], [9, 0, 0]], "f4")
    for mode in (1, 2, 3):
        glb = Glb()
        glb.node(glb.mesh("line", line, np.arange(2, dtype="u2"), {}, mode=mode))
        assert rejection(glb, tmp_path) == "lines alone: mesh without faces"
        glb.node(glb.box())
        assert size(glb, tmp_path) == [1, 1, 1]
    glb = Glb()
    tint = glb.accessor(np.arange(24, dtype="u1").reshape(8, 3), normalized=True)
    glb.node(glb.mesh("scan", BOX_VERTICES, np.arange(8, dtype="u2"), {"COLOR_0": tint}, mode=0))
    (cloud,) = scene_of(glb, tmp_path).parts
    assert isinstance(cloud, CloudPart)
    np.testing.assert_array_equal(cloud.colors, np.arange(24).reshape(8, 3))


def test_scenes_nodes_and_names(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.box()
    glb.node(mesh)
    child = glb.add("nodes", {"mesh": mesh, "scale": [5, 5, 5]})
    glb.add("nodes", {"children": [child], "matrix": [1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 7, 0, 0, 1]})
    glb.tree["scenes"].append({"nodes": [2]})
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["scene"] = 1
    found = sampled(glb, tmp_path)
    np.testing.assert_allclose(found.corners, [[7, -5, 0], [12, 0, 5]], atol=1e-9)  # a quarter turn about x
    assert found.part_names == ("box",)
    glb.tree["nodes"][2]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    assert "no geometry" in rejection(glb, tmp_path)
    del glb.tree["nodes"][2]["extensions"]
    del glb.tree["scene"]
    assert size(glb, tmp_path) == [1, 1, 1]
    del glb.tree["scenes"]
    assert size(glb, tmp_path) == [12, 6, 5]
    del glb.tree["meshes"][0]["name"]
    glb.tree["nodes"][0]["name"] = "lid\ud800"
    assert sampled(glb, tmp_path).part_names == ("lid?",)


def test_parts_are_named_by_mesh_else_node_else_material(tmp_path: Path) -> None:
    glb = Glb()
    box = glb.box(material=glb.add("materials", {"name": "oak"}))
    for name in ("lid", "body", None):
        glb.node(box, **({} if name is None else {"name": name}))
    assert sampled(glb, tmp_path).part_names == ("box",)
    glb.tree["meshes"][0]["name"] = ""
    assert sampled(glb, tmp_path).part_names == ("lid", "body", "oak")
    vertices = [id(part.faces) for part in scene_of(glb, tmp_path).parts]  # type: ignore[union-attr]
    assert len(set(vertices)) == 1  # the mesh is read once
    glb.tree["meshes"][0]["name"] = "geometry_0"  # which programs make up
    assert sampled(glb, tmp_path).part_names == ()


def test_a_skin_says_where_its_mesh_is(tmp_path: Path) -> None:
    """Half of the box hangs on a joint that is moved by 3; the node's own scale does not count."""
    glb = Glb()
    joints = glb.accessor(np.pad((BOX_VERTICES[:, :1] > 0).astype("u1"), ((0, 0), (0, 3))))
    weights = glb.accessor(np.tile(np.array([255, 0, 0, 0], "u1"), (8, 1)), normalized=True)
    inverse = glb.accessor(np.tile(np.eye(4, dtype="f4").reshape(1, 16), (2, 1)))
    mesh = glb.mesh("body", BOX_VERTICES, BOX_FACES, {"JOINTS_0": joints, "WEIGHTS_0": weights})
    glb.node(mesh, skin=0, scale=[100, 100, 100])
    for move in (0, 3):
        glb.tree["scenes"][0]["nodes"].append(glb.add("nodes", {"translation": [move, 0, 0]}))
    glb.add("skins", {"joints": [1, 2], "inverseBindMatrices": inverse})
    assert size(glb, tmp_path) == [4, 1, 1]
    glb.tree["skins"][0]["joints"] = [1]
    assert "joints of vertices that are not there" in rejection(glb, tmp_path)


def test_morph_targets_count_with_their_weights(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    target = {"POSITION": glb.accessor(BOX_VERTICES * np.array([2, 0, 0], "f4"))}
    glb.tree["meshes"][0]["primitives"][0]["targets"] = [target]
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["meshes"][0]["weights"] = [0.5]
    assert size(glb, tmp_path) == [2, 1, 1]
    glb.tree["nodes"][0]["weights"] = [1.0]
    assert size(glb, tmp_path) == [3, 1, 1]


def test_coordinates_are_meters(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    assert scene_of(glb, tmp_path).unit_m == 1.0
