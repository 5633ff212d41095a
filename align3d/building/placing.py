"""Place of a dataset: what is there already, and how a new one takes it at one blow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from align3d.building.plan import read_plan
from align3d.dataset import ShapeDataset
from align3d.errors import DamagedDataset, DataError
from align3d.store import (
    DATASHEET,
    INFO,
    LOST_COLORS,
    MANIFEST,
    NOTES,
    OWN_NAMES,
    REJECTIONS,
    STATE,
    Manifest,
    is_built,
)
from durable.whole_files import remove, sync

LOCK_ADVICE = "choose a folder on another file system (out=; cache= of a run)"


def partial_of(out: Path) -> Path:
    """Folder in which the shards of a dataset are read."""
    return out.with_name(out.name + ".partial")


def new_of(out: Path) -> Path:
    """Folder in which a dataset is put together."""
    return out.with_name(out.name + ".new")


def folder_of(out: str | Path) -> Path:
    """The folder that ``out=`` means, behind a link.

    Raises:
        DataError: It names none.
    """
    out = Path(out)
    if out.is_symlink():
        out = out.resolve()  # what is written beside it is renamed into it
    if not out.name:
        raise DataError(f"out={out}: expected the name of a folder")
    return out


def existing(out: Path, key: str, *, held: bool = False) -> ShapeDataset | None:
    """The dataset at ``out`` if it is the one that is wanted; None where it must be built.

    Args:
        out: Its folder.
        key: Hash of what it is to be built from.
        held: Whether its lock is held: what a build began that was killed while it put its dataset in place
            is ended, and what the manifest alone determines is written anew.

    Raises:
        DataError: There is something else.
        DamagedDataset: There is one that is not whole.
    """
    if is_free(out):
        return None
    if not (out / MANIFEST).is_file() and not is_built(out):
        raise DataError(
            f"out={out} holds something that is not a dataset; choose another folder or remove it"
        )
    load = ShapeDataset.load_held if held else ShapeDataset.load
    manifest = load(out).manifest
    if manifest.key != key:
        return None
    changed = manifest.other_than_written(out)
    left = new_of(out) / DATASHEET
    if left.is_file() and not left.with_name(MANIFEST).exists():  # the last file to be renamed
        changed = [*changed, DATASHEET]
    if changed and not held:
        raise DamagedDataset(f"{out / changed[0]} is not as it was written")
    if held:
        if changed:
            print(f"{out}: {' and '.join(changed)} made anew, damaged before", file=sys.stderr, flush=True)
            manifest.write_hugging_face(out)
        if DATASHEET in changed:
            os.replace(left, out / DATASHEET)
        tidy(out, manifest)
    return load(out, verify=True)


def is_free(out: Path) -> bool:
    """Whether a folder is not there, or empty."""
    return not out.exists() or (out.is_dir() and not any(out.iterdir()))


def put_in_place(new: Path, out: Path, manifest: Manifest) -> None:
    """Put a finished dataset in its place: who opens it finds the older one or this one.

    The manifest's renaming is the one step, and what is the older one's alone is removed afterwards. Who has
    mapped that reads on.
    """
    if is_free(out):
        os.replace(new, out)
        sync(out.parent)
    else:
        remove(out / manifest.data)  # what a build left that was killed in here
        for name in (manifest.data, MANIFEST, INFO, STATE, DATASHEET):
            os.replace(new / name, out / name)
        sync(out)
    tidy(out, manifest)


def tidy(out: Path, manifest: Manifest) -> None:
    """Remove what a finished dataset does not need: an older one's files, and what its own build left."""
    kept = {manifest.data, MANIFEST, INFO, STATE, DATASHEET, *(shard.file for shard in manifest.shards)}
    if manifest.schema == 1:
        kept |= {REJECTIONS, LOST_COLORS, NOTES}
    for path in out.iterdir():
        if path.name not in kept and OWN_NAMES.fullmatch(path.name):
            remove(path)
    remove(new_of(out))
    partial = partial_of(out)
    if read_plan(partial).get("key") == manifest.key:
        remove(partial)
