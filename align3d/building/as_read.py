"""Dataset as it was read, beside the one that filters and reviewers made of it.

``OUT.raw`` is kept so that nothing is read anew when only decisions change. Shards in which nothing changed
are hard links, which both folders share.
"""

from __future__ import annotations

import os
from pathlib import Path

from align3d.building.placing import existing, new_of, partial_of, put_in_place
from align3d.building.plan import read_plan
from align3d.dataset import ShapeDataset
from align3d.errors import DamagedDataset, DataError
from align3d.store import DATASHEET, INFO, MANIFEST, STATE, is_built
from durable.checksums import set_aside
from durable.whole_files import link_or_copy, remove, sync_tree


def raw_of(out: Path) -> Path:
    """Folder of the dataset as it was read."""
    return out.with_name(out.name + ".raw")


def find(place: Path, key: str) -> ShapeDataset | None:
    """The dataset of a key in a folder, every byte as it was written; a damaged one is moved aside.

    Raises:
        DataError: The folder holds something that is no dataset.
    """
    try:
        return existing(place, key, held=True)
    except DamagedDataset as damage:
        if not is_built(place):
            raise
        set_aside(place, damage.reason)
        return None


def take_over(out: Path, key: str) -> ShapeDataset | None:
    """What a folder's raw dataset can be had from without reading: itself, or the dataset in the folder.

    Shards of a build that was cut off are moved to where the raw dataset is read.
    """
    raw = raw_of(out)
    if (found := find(raw, key)) is not None:
        return found
    if (found := find(out, key)) is not None:
        return second_copy(found, raw)
    if read_plan(partial_of(out)).get("key") == key and not partial_of(raw).exists():
        os.replace(partial_of(out), partial_of(raw))
    return None


def second_copy(dataset: ShapeDataset, place: Path) -> ShapeDataset:
    """Give a dataset a second folder: of hard links, or of copies where the file system has none.

    Raises:
        NoSpaceError: The disk does not take copies.
    """
    new, manifest = new_of(place), dataset.manifest
    remove(new)
    names = [str(path.relative_to(dataset.path)) for path in (dataset.path / manifest.data).iterdir()]
    for name in (*names, MANIFEST, INFO, STATE, DATASHEET):
        link_or_copy(dataset.path / name, new / name)
    sync_tree(new)
    put_in_place(new, place, manifest)
    return ShapeDataset.load(place)


def room_of(out: Path) -> tuple[Path, int] | None:
    """The folder of the dataset as it was read, and the bytes that it alone takes; None if there is none."""
    raw = raw_of(out)
    try:
        files = ShapeDataset.load(raw).manifest.facts()
        stats = [(raw / name).stat() for name in files]
    except (DataError, OSError):
        return None
    return raw, sum(stat.st_size for stat in stats if stat.st_nlink < 2)


def drop_other(out: Path, key: str) -> None:
    """Remove a raw dataset that another build left."""
    raw = raw_of(out)
    try:
        if is_built(raw) and ShapeDataset.load(raw).manifest.key != key:
            remove(raw)
    except DataError:
        remove(raw)
