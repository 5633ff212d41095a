"""Materials of glTF: what colors a primitive, and which colors could not be had.

Colors are taken as the file writes them: base color (or diffuse color) x texture x vertex colors, and light
that the material emits is added. What a renderer does with them (lights, metal, tone) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.sources.meshes.gltf_file import GltfFile
from align3d.sources.meshes.linked_files import UnreadableLink
from align3d.sources.meshes.scene import Appearance, Bytes, Floats, Texture
from align3d.sources.meshes.texture_images import FileImages, UnreadableImage

Attribute = Callable[[str], Floats | None]
"""Values f64[V, components] of a primitive's attribute, such as "COLOR_0"; None where it has none."""

_WRAPS = {33071: "clamp", 33648: "mirror", 10497: "repeat"}


class Materials:
    """Materials of a file; an image is read once, however many parts share it.

    Attributes:
        lost: Why colors were dropped, a line each, without repeats.

    Args:
        file: The glTF file.
    """

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._images: dict[int, Bytes | str] = {}
        self._decoder = FileImages(len(file.tree.get("images", [])))
        self.lost: dict[str, None] = {}

    def appearance(self, primitive: dict[str, Any], attribute: Attribute, count: int) -> Appearance:
        """What colors a primitive.

        Args:
            primitive: The primitive's JSON.
            attribute: Its attributes.
            count: Number of its vertices V.
        """
        tints = self._vertex_colors(attribute, count)
        if "material" not in primitive:
            return Appearance(vertex_colors=tints)
        material = self._file.entry("materials", primitive["material"])
        name = repr(material.get("name") or primitive["material"])
        base, factor_key, texture_key = _base(material)
        if "KHR_techniques_webgl" in material.get("extensions", {}) and not base:
            self.lost[f"material {name} is colored by KHR_techniques_webgl, which is not read"] = None
            return Appearance(vertex_colors=tints)
        texture, is_lost = self._texture(base.get(texture_key), attribute, count, name)
        factor: Floats | None = _color(base.get(factor_key, (1.0, 1.0, 1.0)), name)
        glow = self._glow(material, attribute, count, name)
        if (glow is not None or is_lost) and texture is None and factor_key not in base:
            factor = None  # the light, or the lost texture, is all that the file says
        if is_lost and factor is not None and (factor >= 255.0).all():
            factor = None
        return Appearance(factor, tints, None, texture, glow)

    def _vertex_colors(self, attribute: Attribute, count: int) -> Floats | None:
        """A primitive's vertex colors f64[V, 3] in 0..255."""
        values = attribute("COLOR_0")
        if values is None:
            return None
        if values.shape[0] != count or values.shape[1] < 3:
            self.lost[f"COLOR_0 has {list(values.shape)} values for {count} vertices"] = None
            return None
        colors = np.nan_to_num(values[:, :3])
        if colors.max(initial=0.0) > 1.001:
            self.lost[f"COLOR_0 reaches {colors.max():.4g}, expected at most 1; it is cut there"] = None
        return np.clip(colors, 0.0, 1.0) * 255.0

    def _glow(
        self, material: dict[str, Any], attribute: Attribute, count: int, name: str
    ) -> Appearance | None:
        """Emission of a material; None for none."""
        strength = material.get("extensions", {}).get("KHR_materials_emissive_strength", {})
        factor = _color(material.get("emissiveFactor", (0.0, 0.0, 0.0)), name)
        factor = np.clip(factor * float(strength.get("emissiveStrength", 1.0)), 0.0, 255.0)
        if not factor.any():
            return None
        texture, is_lost = self._texture(material.get("emissiveTexture"), attribute, count, name)
        return None if is_lost else Appearance(factor, texture=texture)

    def _texture(
        self, info: dict[str, Any] | None, attribute: Attribute, count: int, name: str
    ) -> tuple[Texture | None, bool]:
        """A texture on the primitive, and whether there should be one that cannot be had."""
        if not info:
            return None, False
        transform = info.get("extensions", {}).get("KHR_texture_transform", {})
        channel = f"TEXCOORD_{transform.get('texCoord', info.get('texCoord', 0))}"
        uv = attribute(channel)
        if uv is None or uv.shape != (count, 2) or not np.isfinite(uv).any():
            what = "no" if uv is None or len(uv) == count else f"{len(uv)} instead of {count}"
            self.lost[f"texture of material {name} has {what} coordinates {channel}"] = None
            return None, True
        entry = self._file.entry("textures", info.get("index"))
        image = self._first_image(entry)
        if isinstance(image, str):
            self.lost[f"texture of material {name}: {image}"] = None
            return None, True
        sampler = self._file.entry("samplers", entry["sampler"]) if "sampler" in entry else {}
        wrap = tuple(_WRAPS.get(sampler.get(key, 10497), "repeat") for key in ("wrapS", "wrapT"))
        moved = _transformed(uv, transform)
        moved[:, 1] = 1.0 - moved[:, 1]
        return Texture(image, moved, (wrap[0], wrap[1])), False

    def _first_image(self, texture: dict[str, Any]) -> Bytes | str:
        """A texture's first image that can be read; else why the first cannot."""
        sources = [
            extension["source"]
            for name, extension in texture.get("extensions", {}).items()
            if isinstance(extension, dict) and "source" in extension
        ]
        if "source" in texture:
            sources.append(texture["source"])
        found = [self._image(source) for source in sources]
        readable = [image for image in found if not isinstance(image, str)]
        return (readable or found or ["it names no image"])[0]

    def _image(self, index: Any) -> Bytes | str:
        """An image's pixels u8[H, W, 3], or why it cannot be had."""
        if index not in self._images:
            self._images[index] = self._decoded(index)
        return self._images[index]

    def _decoded(self, index: Any) -> Bytes | str:
        try:
            image = self._file.entry("images", index)
            if "bufferView" in image:
                return self._decoder.decode(bytes(self._file.view(image["bufferView"])))
            return self._decoder.decode(self._file.linked(str(image.get("uri", ""))))
        except (UnreadableImage, UnreadableLink) as error:
            return str(error)
        except RejectedItem as error:
            return error.reason


def _base(material: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Section of a material that holds its color, and its keys of the factor and of the texture."""
    gloss = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
    if "diffuseFactor" in gloss or "diffuseTexture" in gloss:
        return gloss, "diffuseFactor", "diffuseTexture"
    return material.get("pbrMetallicRoughness", {}), "baseColorFactor", "baseColorTexture"


def _color(factor: Any, name: str) -> Floats:
    """A factor of three or four numbers as a color f64[3] in 0..255."""
    values = np.asarray(factor, dtype=np.float64)
    if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
        raise RejectedItem(f"cannot be read: material {name} has the color {factor!r}")
    return np.clip(values[:3], 0.0, 1.0) * 255.0


def _transformed(uv: Floats, transform: dict[str, Any]) -> Floats:
    """Coordinates after ``KHR_texture_transform``: scaled, turned, moved; a copy.

    The turn is the one that renderers agree on, counter-clockwise with v downwards, the inverse of the matrix
    that the extension's text prints (KhronosGroup/glTF, issue 1563).
    """
    scaled = uv * np.asarray(transform.get("scale", (1.0, 1.0)), dtype=np.float64)
    angle = float(transform.get("rotation", 0.0))
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.column_stack(
        [cos * scaled[:, 0] + sin * scaled[:, 1], cos * scaled[:, 1] - sin * scaled[:, 0]]
    )
    return turned + np.asarray(transform.get("offset", (0.0, 0.0)), dtype=np.float64)
