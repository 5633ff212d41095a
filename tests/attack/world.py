"""Attacked world: one small finished run with its dataset, index and caches, made once and copied."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

OUT, ERR, NUMBERS, EVENTS = "stdout.txt", "stderr.txt", "numbers.json", "events.txt"
REPORTS = (OUT, ERR, NUMBERS, EVENTS)
"""Files of the attack itself, of which no program knows."""

MAPPED = (".safetensors", ".arrow", ".faiss", ".npy", ".png")
"""Files that every program replaces as a whole, so that copies of a world may share them."""


@dataclass(frozen=True)
class World:
    """Folder of everything that is attacked.

    Attributes:
        folder: Holds ``run`` (a finished run), ``begun`` (the same without its results), ``dataset``,
            ``partial`` (a build that was cut off), ``index``, ``cache`` and ``kernels``.
    """

    folder: Path

    @property
    def run(self) -> Path:
        """A finished run."""
        return self.folder / "run"

    @property
    def anew(self) -> Path:
        """A run that is to be made."""
        return self.folder / "anew"

    @property
    def meshes(self) -> Path:
        """Files that the dataset is made of."""
        return self.folder / "meshes"

    @property
    def begun(self) -> Path:
        """A run that lacks its evaluation."""
        return self.folder / "begun"

    @property
    def dataset(self) -> Path:
        """A dataset of ``align3d.build``."""
        return self.folder / "dataset"

    @property
    def unfinished(self) -> Path:
        """A dataset whose build was cut off: it is still in ``unfinished.partial``."""
        return self.folder / "unfinished"

    @property
    def index(self) -> Path:
        """A saved index."""
        return self.folder / "index"

    @property
    def cache(self) -> Path:
        """The caches."""
        return self.folder / "cache"

    @property
    def other_cache(self) -> Path:
        """Caches of what is no part of the run."""
        return self.folder / "other_cache"

    @property
    def kernels(self) -> Path:
        """A module with a compiled function, and its machine code."""
        return self.folder / "kernels"

    def enter(self) -> None:
        """Makes it the place where a program works, with its caches."""
        os.environ["ALIGN3D_CACHE"] = str(self.cache)
        os.chdir(self.folder)

    def copy(self, folder: Path) -> World:
        """A copy, which shares the bytes of large files until they are replaced."""

        def link(source: str, target: str) -> None:
            (os.link if source.endswith(MAPPED) else shutil.copy2)(source, target)

        shutil.copytree(self.folder, folder, copy_function=link, symlinks=True)
        return World(folder)

    def files(self) -> list[Path]:
        """All files, relative to the folder, but for the attack's own."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(path for path in found if path.name not in REPORTS)
