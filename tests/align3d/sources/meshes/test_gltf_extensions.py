"""Extensions of glTF that hold geometry: instances, Draco, meshopt; others are refused by name."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from align3d.sources.meshes.scene import MeshPart
from tests.align3d.sources.meshes.glb_writer import (
    BOX_FACES,
    BOX_VERTICES,
    PLATE_FACES,
    PLATE_VERTICES,
    Glb,
)
from tests.align3d.sources.meshes.gltf_scenes import (
    ATLAS,
    PACKED_CORNERS,
    PACKED_TRIANGLES,
    QUARTER_UV,
    color,
    draco,
    packed_box,
    rejection,
    sampled,
    scene_of,
    size,
)


def test_instances_are_all_there(tmp_path: Path) -> None:
    glb = Glb("EXT_mesh_gpu_instancing")
    moves = glb.accessor(np.array([[0, 0, 0], [4, 0, 0], [8, 0, 0]], "f4"))
    turns = glb.accessor(np.array([[0, 0, 0, 127], [0, 0, 90, 90], [0, 0, 0, 127]], "i1"), normalized=True)
    glb.node(glb.box(), extensions={"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}})
    assert size(glb, tmp_path) == [9, 1, 1]
    attributes = {"TRANSLATION": moves, "ROTATION": turns}
    glb.tree["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"] = attributes
    second = scene_of(glb, tmp_path).parts[1]
    assert isinstance(second, MeshPart)
    np.testing.assert_allclose(second.vertices.min(axis=0), [3, 0, 0], atol=1e-6)  # a quarter turn about z
    glb.tree["accessors"][turns]["count"] = 2
    assert "has [2, 3] instances" in rejection(glb, tmp_path)


def test_bodies_of_draco_are_decoded(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    red = np.tile(np.array([200, 0, 0, 255], np.uint8), (8, 1))
    draco(glb, "cabinet", BOX_VERTICES * 2, BOX_FACES.reshape(-1, 3).astype("u4"), colors=red)
    glb.node(glb.box(), scale=[0.1, 0.1, 0.1])
    assert size(glb, tmp_path) == [2, 2, 2]
    found = sampled(glb, tmp_path)
    assert found.part_names == ("cabinet", "box")
    cabinet = found.colors[found.part == 0]
    assert len(cabinet) > 150
    assert (cabinet == [200, 0, 0]).all()


def test_draco_coordinates_color_its_texture(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    glb.texture(ATLAS)
    uv = QUARTER_UV.astype(np.float64)
    primitive = draco(glb, "plate", PLATE_VERTICES, PLATE_FACES.reshape(-1, 3).astype("u4"), tex_coord=uv)
    primitive["material"] = glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    assert color(glb, tmp_path) == (0, 160, 0)


def test_damaged_draco_rejects_the_whole_file(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    primitive = draco(glb, "cabinet", BOX_VERTICES, BOX_FACES.reshape(-1, 3).astype("u4"))
    glb.node(glb.box(), scale=[0.1, 0.1, 0.1])
    compressed = primitive["extensions"]["KHR_draco_mesh_compression"]
    compressed["attributes"]["POSITION"] = 7
    assert "its KHR_draco_mesh_compression lacks the attribute POSITION" in rejection(glb, tmp_path)
    compressed["bufferView"] = glb.view(b"DRACO\x02\x02\x01\x01\x00\x00" + bytes(64))
    assert "its KHR_draco_mesh_compression is damaged" in rejection(glb, tmp_path)
    del primitive["extensions"]
    assert "vertices that are neither in the file" in rejection(glb, tmp_path)


def test_bodies_of_meshopt_are_decoded(tmp_path: Path) -> None:
    glb = Glb("EXT_meshopt_compression")
    packed_box(glb, PACKED_CORNERS, PACKED_TRIANGLES)
    glb.tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = 99  # is not looked at
    found = sampled(glb, tmp_path)
    np.testing.assert_array_equal(found.corners, [[-0.5] * 3, [0.5] * 3])
    np.testing.assert_allclose(np.abs(found.points).max(axis=1), 0.5)  # every point on the surface


def test_meshopt_that_cannot_be_decoded_is_refused_by_name(tmp_path: Path) -> None:
    for corners, more, reason in (
        (PACKED_CORNERS[:40], {}, "EXT_meshopt_compression: cut"),
        (b"\xa1" + PACKED_CORNERS[1:], {}, "EXT_meshopt_compression: damaged, cut, or of another version"),
        (
            PACKED_CORNERS,
            {"filter": "OCTAHEDRAL"},
            "EXT_meshopt_compression: filter OCTAHEDRAL, which is not",
        ),
        (PACKED_CORNERS, {"count": 10**9}, "EXT_meshopt_compression claims 1000000000 elements"),
        (PACKED_CORNERS, {"count": 10**7}, "EXT_meshopt_compression: cut"),
        (PACKED_CORNERS, {"byteLength": 10**9}, "EXT_meshopt_compression reaches to byte"),
    ):
        glb = Glb("EXT_meshopt_compression")
        packed_box(glb, corners, PACKED_TRIANGLES, **more)
        assert reason in rejection(glb, tmp_path)


def test_plain_bytes_go_before_compressed_ones(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    packed = {"buffer": 0, "byteLength": 40, "byteStride": 12, "count": 8, "mode": "ATTRIBUTES"}
    glb.tree["bufferViews"][0] |= {"buffer": 1, "extensions": {"EXT_meshopt_compression": packed}}
    plain = base64.b64encode(BOX_VERTICES.tobytes()).decode()
    uri = f"data:application/octet-stream;base64,{plain}"
    glb.tree["buffers"] = [{"byteLength": len(glb.binary)}, {"byteLength": 96, "uri": uri}]
    assert size(glb, tmp_path) == [1, 1, 1]


def test_an_unknown_required_extension_is_refused_by_name(tmp_path: Path) -> None:
    glb = Glb("KHR_materials_clearcoat", "EXT_future_geometry")
    glb.node(glb.box())
    assert rejection(glb, tmp_path) == "requires the glTF extension EXT_future_geometry, which is not read"
