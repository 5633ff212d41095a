"""Readers of mesh files by suffix."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from align3d.errors import RejectedItem
from align3d.hashing import hash_code, hash_lines
from align3d.sources.meshes import trimesh_reader, xyz
from align3d.sources.meshes.gltf_reader import read_gltf
from align3d.sources.meshes.obj import read_obj
from align3d.sources.meshes.off import read_off
from align3d.sources.meshes.ply import read_ply
from align3d.sources.meshes.scene import Scene
from align3d.sources.meshes.stl import read_stl
from align3d.sources.meshes.texture_images import KTX2_READER
from align3d.sources.meshes.vrml_scene import read_wrl

READERS: dict[str, Callable[[Path, Path], Scene]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".off": read_off,
    ".ply": read_ply,
    ".stl": read_stl,
    ".vrml": read_wrl,
    ".wrl": read_wrl,
    **dict.fromkeys(xyz.SUFFIXES, xyz.read_xyz),
}
"""Readers of the formats that have one of their own, by suffix; trimesh reads all others.

Arguments: the path, and the root that files which it names must lie below."""


def formats() -> frozenset[str]:
    """Suffixes of the mesh formats that can be read here, such as ".glb"."""
    return trimesh_reader.formats() | frozenset(READERS)


def readers_fingerprint() -> str:
    """Sha256 of what decides, besides the files, what their scenes hold: code, formats, optional decoders."""
    folder = Path(__file__).parent
    modules = [f"{__package__}.{path.stem}" for path in sorted(folder.glob("*.py"))]
    modules += ["align3d.sources.vrml", "align3d.sources.vrml_nodes"]
    return hash_lines([hash_code(*modules), *sorted(formats()), f"ktx2 {find_spec(KTX2_READER) is not None}"])


def read_scene(path: Path, root: Path) -> Scene:
    """Read a mesh, scene or point cloud.

    Args:
        path: The file.
        root: Folder that files which this one names must lie below.

    Raises:
        RejectedItem: The file cannot be read.
    """
    reader = READERS.get(path.suffix.lower(), trimesh_reader.read_with_trimesh)
    try:
        return reader(path, root)
    except RejectedItem:
        raise
    except Exception as error:  # readers raise whatever a broken file makes their code stumble over
        reason = " ".join(str(error).split())[:200]
        raise RejectedItem(
            f"cannot be read: damaged or truncated? ({type(error).__name__}: {reason})"
        ) from error
