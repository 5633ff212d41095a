"""The decoder of meshopt: what the library meshoptimizer packed, and what is damaged."""

from __future__ import annotations

import numpy as np
import pytest

from align3d.sources.meshes.gltf_meshopt import MeshoptError, decode_meshopt
from tests.align3d.sources.meshes.gltf_scenes import PACKED_CORNERS, PACKED_TRIANGLES


def test_floats_from_mantissas_and_exponents() -> None:
    words = np.array([[3 | 0 << 24, (-3 & 0xFFFFFF) | (1 << 24)], [5 | (0xFF << 24), 1 | (10 << 24)]], "<u4")
    plain = words.view("u1").reshape(2, 8)
    data = bytes([0xA0])
    for byte in range(8):  # each byte of the elements as a raw group of sixteen steps from zero
        steps = np.diff(plain[:, byte].astype(int), prepend=0).astype("i1").astype(int)
        zigzag = [(step << 1 ^ step >> 7) & 255 for step in steps]
        data += bytes([3, *zigzag, *([0] * 14)])
    data += bytes(32)
    found = np.frombuffer(decode_meshopt(data, 2, 8, "ATTRIBUTES", "EXPONENTIAL"), "<f4")
    np.testing.assert_array_equal(found, [3.0, -6.0, 2.5, 1024.0])
    assert decode_meshopt(data, 2, 8, "ATTRIBUTES") == words.tobytes()


def test_a_sequence_of_indices() -> None:
    """Each step from one of two last indices: its lowest bit says from which, the next its sign."""
    steps = [(5, 0), (2, 0), (-3, 0), (200, 1), (-1, 1), (1, 0)]
    data = bytes([0xD1])
    for step, base in steps:
        value = (step << 1 ^ step >> 31) << 1 | base
        data += bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])
    found = np.frombuffer(decode_meshopt(data + bytes(4), len(steps), 4, "INDICES"), "<u4")
    np.testing.assert_array_equal(found, [5, 7, 4, 200, 199, 5])


@pytest.mark.parametrize(
    ("data", "count", "stride", "mode"),
    [(PACKED_CORNERS, 8, 12, "ATTRIBUTES"), (PACKED_TRIANGLES, 36, 2, "TRIANGLES")],
)
def test_damaged_data_are_told_and_nothing_else_is_raised(
    data: bytes, count: int, stride: int, mode: str
) -> None:
    rng = np.random.default_rng(0)
    for end in range(len(data) - 1):
        with pytest.raises(MeshoptError):
            decode_meshopt(data[:end], count, stride, mode)
    for _ in range(300):
        flipped = bytearray(data)
        flipped[rng.integers(0, len(data))] = rng.integers(0, 256)
        try:
            assert len(decode_meshopt(bytes(flipped), count, stride, mode)) == count * stride
        except MeshoptError:
            continue
    for wrong in ("NONE", "COLOR"):
        with pytest.raises(MeshoptError, match=f"mode {wrong}"):
            decode_meshopt(data, count, stride, wrong)
