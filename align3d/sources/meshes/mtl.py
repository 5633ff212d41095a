"""Material libraries of OBJ files: diffuse colors and their images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from align3d.errors import RejectedItem
from align3d.sources.meshes.color_range import UnknownRange, to_255
from align3d.sources.meshes.linked_files import UnreadableLink, find_linked
from align3d.sources.meshes.scene import Appearance, Bytes, Floats, Texture
from align3d.sources.meshes.text_encoding import decode_names, text_bytes
from align3d.sources.meshes.texture_images import FileImages, UnreadableImage

_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_NAME = 4096
_NUMBERS_OF_OPTION = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2, "-bm": 1, "-boost": 1, "-texres": 1}
_WORD_OPTIONS = frozenset({"-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type", "-colorspace"})


@dataclass
class Material:
    """One material of a library.

    Attributes:
        color: f64[3] in 0..255, its Kd; None where it has none.
        image: u8[H, W, 3], its map_Kd.
        glow: Its Ke, the light that it emits; None for none.
        scale: Factors of u and v, of the option -s.
        offset: What is added to u and v then, of the option -o.
        wrap: What lies outside of the image, of the option -clamp; see `Texture`.
    """

    color: Floats | None = None
    image: Bytes | None = None
    glow: Appearance | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    wrap: str = "repeat"

    def texture(self, uv: Floats) -> Appearance:
        """What colors a surface with texture coordinates f64[V, 2]: its image without Kd, as viewers do."""
        if self.image is None:
            return self.plain()
        placed = uv * np.array(self.scale) + np.array(self.offset)
        return Appearance(texture=Texture(self.image, placed, (self.wrap, self.wrap)), glow=self.glow)

    def plain(self) -> Appearance:
        """What colors a surface without texture coordinates."""
        return Appearance(factor=self.color, glow=self.glow)


@dataclass
class _Entry:
    """Lines of a material: the library that it stands in, and the values of its Kd, Ke and map_Kd."""

    library: Path
    kd: str | None = None
    ke: str | None = None
    map_kd: str | None = None


class MaterialLibraries:
    """Materials of the libraries that an OBJ file names; images are read when a face has them.

    Args:
        path: The OBJ file.
        root: Folder that all named files must lie below.

    Attributes:
        lost: Why colors were dropped, a line each.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self.lost: list[str] = []
        self._complete = True
        self._entries: dict[str, _Entry] = {}
        self._materials: dict[str, Material] = {}
        self._images: dict[Path, Bytes] = {}
        self._decoder: FileImages | None = None

    def read(self, name: str) -> None:
        """Read what stands after ``mtllib``: one name, which may hold blanks, or several."""
        try:
            self._read_file(find_any_case(self.path, name, self.root))
        except UnreadableLink as error:
            names = name.split()
            if len(names) > 1:
                for one in names:
                    self.read(one)
            else:
                self._complete = False
                self.lost.append(f"material library: {error}")

    def material(self, name: str) -> Material:
        """The material of a name; one without a color where the libraries have none, or the name is empty."""
        if name not in self._materials:
            found = self._materials[name] = Material()
            entry = self._entries.get(name)
            if entry is None:
                if name and self._complete:
                    self.lost.append(f"material {name!r} is in no material library")
            else:
                if entry.kd is not None:
                    found.color = self._color("Kd", entry.kd)
                light = None if entry.ke is None else self._color("Ke", entry.ke)
                if light is not None and light.any():
                    found.glow = Appearance(factor=light)
                if entry.map_kd is not None:
                    self._set_image(entry.library, found, entry.map_kd)
        return self._materials[name]

    def _read_file(self, library: Path) -> None:
        try:
            text = text_bytes(library.read_bytes())
        except (OSError, RejectedItem) as error:
            self._complete = False
            self.lost.append(f"material library {library.name!r} cannot be read: {error}")
            return
        current = _Entry(library)
        for line in decode_names(text.split(b"\n")):
            words = line.split(None, 1)
            keyword, value = words[0].lower() if words else "", words[1].strip() if len(words) > 1 else ""
            if keyword == "newmtl":
                current = self._entries[value] = _Entry(library)
            elif keyword == "kd":
                current.kd = value
            elif keyword == "ke":
                current.ke = value
            elif keyword == "map_kd":
                current.map_kd = value

    def _color(self, keyword: str, value: str) -> Floats | None:
        """A color f64[3] in 0..255 of three numbers, or of one for all three; None where it is no such."""
        try:
            numbers = [float(word) for word in value.split()[:3]]
            if keyword == "Ke":  # light may be brighter than white
                numbers = [min(number, 1.0) for number in numbers]
            if len(numbers) in (1, 3):
                return to_255(np.array(numbers * 3 if len(numbers) == 1 else numbers))
        except (ValueError, UnknownRange):
            pass
        self.lost.append(f"{keyword} {value!r}: expected three numbers in 0 to 1")
        return None

    def _set_image(self, library: Path, material: Material, value: str) -> None:
        name = self._without_options(material, value[:_LONGEST_NAME])
        try:
            file = find_any_case(library, name, self.root)
            if file not in self._images:
                if self._decoder is None:  # all libraries have been read
                    named = {entry.map_kd for entry in self._entries.values() if entry.map_kd is not None}
                    self._decoder = FileImages(len(named))
                self._images[file] = self._decoder.decode(file.read_bytes())
            material.image = self._images[file]
        except (UnreadableLink, UnreadableImage, OSError) as error:
            what = str(error) if isinstance(error, UnreadableLink) else f"{name!r}: {error}"
            self.lost.append(f"map_Kd: {what}")

    def _without_options(self, material: Material, value: str) -> str:
        """The file's name after the options, whose scale and offset are noted."""
        while (match := re.match(r"(-[a-z]+)\s+", value, re.IGNORECASE)) is not None:
            option = match[1].lower()
            if option not in _NUMBERS_OF_OPTION and option not in _WORD_OPTIONS:
                break  # a file whose name begins so
            value = value[match.end() :]
            if option in _WORD_OPTIONS:
                word, _, value = value.partition(" ")
                if option == "-clamp" and word.lower() == "on":
                    material.wrap = "clamp"
                continue
            numbers: list[float] = []
            while len(numbers) < _NUMBERS_OF_OPTION[option]:
                number = re.match(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s+(?=\S)", value)
                if number is None:
                    break
                try:
                    numbers.append(float(number[1]))
                except ValueError:
                    break
                value = value[number.end() :]
            self._apply(material, option, numbers)
        return value.strip().strip("\"'")

    def _apply(self, material: Material, option: str, numbers: list[float]) -> None:
        if option == "-s" and numbers:
            material.scale = (numbers[0], numbers[1] if len(numbers) > 1 else 1.0)
        elif option == "-o" and numbers:
            material.offset = (numbers[0], numbers[1] if len(numbers) > 1 else 0.0)
        elif (option == "-mm" and numbers not in ([0.0], [0.0, 1.0])) or (option == "-t" and any(numbers)):
            self.lost.append(f"map_Kd: option {option} is not followed, the image is taken as it is")


def find_any_case(path: Path, name: str, root: Path) -> Path:
    """The file that a file names, in whatever letter case and Unicode form its folders and it are written.

    Of an absolute path, as of another machine, the file's own name counts.

    Args:
        path: The file that names the other.
        name: Name relative to that file's folder, maybe in quotes.
        root: Folder that the named file must lie below.

    Raises:
        UnreadableLink: No such file, or one outside the root.
    """
    plain = name.strip().strip("\"'").replace("\\", "/")
    if not plain:
        raise UnreadableLink("no file name")
    if plain.startswith("/") or _DRIVE.match(plain):
        plain = PurePosixPath(plain).name
    try:
        return find_linked(path, plain, root)
    except UnreadableLink:
        spelled = "/".join(_as_on_disk(path.parent, plain))
        if not spelled:
            raise
        return find_linked(path, spelled, root)


def _as_on_disk(folder: Path, name: str) -> list[str]:
    """The pieces of a path as the disk spells them; empty where there is no such file."""
    pieces = []
    for piece in PurePosixPath(name).parts:
        entry = piece if piece == ".." else next(_matching(folder, piece), None)
        if entry is None:
            return []
        pieces.append(entry)
        folder = folder / entry
    return pieces


def _matching(folder: Path, name: str) -> Iterator[str]:
    try:
        entries = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return
    yield from (entry for entry in entries if _folded(entry) == _folded(name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
