"""Whatever bytes a file of points or polygons holds, it is read or rejected: no other error, and no wait."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from align3d.errors import RejectedItem
from align3d.sources.surface import read_points

_VERTICES = "v 0 0 0 1 0 0\nv 4 0 0 1 0 0\nv 4 4 0 1 0 0\nv 2 1 0 0 1 0\nv 0 4 1 0 0 1\n"
_PLY = """ply
format {form} 1.0
comment TextureFile a.png
element vertex 4
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 2
property list uchar int vertex_indices
property list uchar float texcoord
end_header
"""
_ROWS = [(0, 0, 0, 255, 0, 0), (1, 0, 0, 255, 0, 0), (1, 1, 0, 0, 9, 0), (0, 1, 0, 0, 0, 7)]
_BINARY_PLY = (
    _PLY.format(form="binary_little_endian").encode()
    + b"".join(struct.pack("<3f3B", *row) for row in _ROWS)
    + struct.pack("<B3iB6f", 3, 0, 1, 2, 6, 0, 0, 1, 0, 1, 1)
    + struct.pack("<B4iB0f", 4, 0, 1, 2, 3, 0)
)
_ASCII_PLY = (
    _PLY.format(form="ascii")
    + "".join(" ".join(map(str, row)) + "\n" for row in _ROWS)
    + "3 0 1 2 6 0 0 1 0 1 1\n4 0 1 2 3 0\n"
).encode()
_STL_FACET = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0x801F)
_FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"

GOOD = {
    "a.obj": (
        f"mtllib a.mtl\no grün\n{_VERTICES}vt 0 0\nvt 1 0\nvt .5 1\nusemtl a\nf 2/1 3/2 4/3 5/1 1/2\ng b\n"
        "f -1//1 -2//1 -3//1\nf 1 2 \\\n3\n"
    ).encode("latin-1"),
    "binary.ply": _BINARY_PLY,
    "ascii.ply": _ASCII_PLY,
    "a.off": b"COFF\n# five\n5 2 0\n0 0 0 9 9 9 255\n4 0 0 9 9 9 255\n4 4 0 9 9 9 255\n2 1 0 9 9 9 255\n"
    b"0 4 0 9 9 9 255\n5 1 2 3 4 0\n3 0 1 2 255 0 0\n",
    "a.xyz": b"# x y z r g b\n3\n0 0 0 255 0 0\n1 0 0 0 255 0\n0.5 1 0 0 0 255\n",
    "ascii.stl": f"solid grün\n{_FACET}endsolid\nsolid b\n{_FACET}endsolid\n".encode("latin-1"),
    "binary.stl": b"COLOR=\x0a\x14\x1e\xff".ljust(80, b"\0") + struct.pack("<I", 2) + _STL_FACET * 2,
    "a.wrl": b"""#VRML V2.0 utf8
Transform { translation 1 2 3 children [ Shape {
appearance Appearance { material DEF A Material { diffuseColor 1 0 0 } }
geometry IndexedFaceSet { convex FALSE
coord Coordinate { point [ 4 1 0, 1 1 0, 1 4 0, 0 4 0, 0 0 0, 4 0 0 ] } coordIndex [ 0 1 2 3 4 5 -1 0 1 5 ]
colorPerVertex FALSE color Color { color [ 1 0 0, 0 1 0 ] } colorIndex [ 1 0 ] } } ] }
""",
}
LIBRARY = b"newmtl a\nKd 1 0 0\nmap_Kd -s 2 2 1 -o 0 0 a.png\nnewmtl gr\xfcn\nKd 0.5\n"


def read_or_reject(folder: Path, name: str, data: bytes) -> None:
    """Read a file; any other end than points or a rejection fails, and so does a warning on the screen."""
    path = folder / f"shape{Path(name).suffix}"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reason = ""
        try:
            found = read_points(path, 16, np.random.default_rng(0), root=folder)
            assert found.points.shape == found.colors.shape == (16, 3)
            assert found.part.max() < len(found.part_names)
        except RejectedItem as error:
            reason = error.reason
    assert "Error: " not in reason, reason  # words of a program, not of the file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damaged")
    (path / "a.mtl").write_bytes(LIBRARY)
    (path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n not one")
    return path


@pytest.mark.parametrize("name", GOOD)
def test_whole_files_are_read(folder: Path, name: str) -> None:
    path = folder / f"whole{Path(name).suffix}"
    path.write_bytes(GOOD[name])
    assert len(np.unique(read_points(path, 64, np.random.default_rng(0), root=folder).points, axis=0)) > 2


@pytest.mark.parametrize("name", GOOD)
def test_files_cut_anywhere(folder: Path, name: str) -> None:
    for end in range(len(GOOD[name])):
        read_or_reject(folder, name, GOOD[name][:end])


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_files_with_other_bytes_in_them(folder: Path, name: str, data: st.DataObject) -> None:
    good = GOOD[name]
    changed = bytearray(good)
    at = st.integers(0, len(good) - 1)
    for position in data.draw(st.lists(at, min_size=1, max_size=4)):
        changed[position] = data.draw(st.integers(0, 255))
    start, end = sorted((data.draw(at), data.draw(at)))
    pasted = data.draw(
        st.sampled_from([b"", good[start:end], b"-1 ", b"nan ", b"1e400", b"99999999999999999999", b"\0"])
    )
    place = data.draw(at)
    read_or_reject(folder, name, bytes(changed[:place]) + pasted + bytes(changed[place:]))


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=30, deadline=None)
@given(noise=st.binary(max_size=200))
def test_files_of_noise_after_a_good_beginning(folder: Path, name: str, noise: bytes) -> None:
    for kept in (0, 4, 16, len(GOOD[name]) // 2):
        read_or_reject(folder, name, GOOD[name][:kept] + noise)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_material_libraries(folder: Path, data: st.DataObject) -> None:
    changed = bytearray(LIBRARY)
    for position in data.draw(st.lists(st.integers(0, len(LIBRARY) - 1), min_size=1, max_size=5)):
        changed[position] = data.draw(st.integers(0, 255))
    (folder / "b.mtl").write_bytes(bytes(changed))
    read_or_reject(folder, "a.obj", GOOD["a.obj"].replace(b"a.mtl", b"b.mtl"))
