"""Build of a dataset from a source: in parallel, resumable, whole or not at all.

    python -m align3d.build source=kicad out=DIR [root=...] [size=...] [points=...] [seed=...] [workers=...]

Shards are written into ``OUT.partial``; when all are there, the dataset is put together in ``OUT.new``. Where
there was none, that folder is renamed; else what it holds is moved in beside the older dataset, and its
manifest takes the place of the other's at one blow.

A build that was cut off goes on with the shards that it lacks, and ends with the same
bytes as one that was not: each item has a random generator of its own, so that neither order nor the number
of workers matters.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from align3d.console.progress import Tracker
from align3d.dataset import ShapeDataset
from align3d.errors import DamagedDataset, DataError
from align3d.hashing import hash_code, hash_json, hash_lines
from align3d.shards import ShardResult, ShardTask
from align3d.sources import Item, Source, make_source, setting_names, source_class
from align3d.store import (
    INFO,
    LOST_COLORS,
    MANIFEST,
    NOTES,
    OWN_NAMES,
    REJECTIONS,
    SCHEMA,
    STATE,
    Manifest,
    ShardInfo,
    arrow_schema,
    is_built,
    lock_of,
)
from align3d.workers import Workers, read_alone
from durable.checksums import checked_json, file_facts, set_aside, write_json
from durable.errors import NoSpaceError
from durable.file_lock import locked
from durable.whole_files import remove, sync, sync_tree, write_text

CONTENT = 1
"""Version of what is hashed of a dataset's content."""
_PLAN = "plan.json"
_ADVICE = "choose a folder on another file system (out=; cache= of a run)"
_MIN_SHARD, _MAX_SHARD, _SHARDS = 128, 4096, 64


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_cache() -> Path:
    """``$ALIGN3D_CACHE``, or ``~/.cache/align3d``."""
    return Path(os.environ.get("ALIGN3D_CACHE") or "~/.cache/align3d").expanduser()


def build_key(source: Source, points: int, seed: int) -> str:
    """Hash of what a dataset is built from; equal keys mean equal datasets."""
    code = hash_code("align3d.sampling", "align3d.store", "align3d.record", "align3d.captions")
    return hash_json([SCHEMA, code, source.name, source.fingerprint(), points, seed])


def build(
    source: Source,
    out: str | Path,
    *,
    points: int = 2048,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> ShapeDataset:
    """Build a dataset, or open it where ``out`` already holds just this one, every byte as it was written.

    A damaged dataset is moved aside (``OUT.damaged``) and built anew, and one line on stderr says so.

    A script that calls this needs ``if __name__ == "__main__":`` around its own code, as worker processes are
    spawned, not forked.

    Args:
        source: Source of the shapes.
        out: Folder of the dataset. An older dataset there is replaced when the new one is complete, in one
            step; who has it open reads on in it.
        points: Points of a shape, P.
        seed: Seed of the sampling.
        workers: Processes that read; an item that crashes one is rejected by name. None: as many as cores
            may be used.
        progress: Say how far it is, with rate and time left, where it takes more than a few seconds.

    Raises:
        DataError: Wrong settings, nothing to read, every item rejected, or ``out`` holds something else.
        NoSpaceError: The disk does not take it; what is finished is kept, and the same call goes on.
        LockError: The file system knows no locks.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for itself
        sys.exit(f'{sys.argv[0]} needs `if __name__ == "__main__":` around its own code')
    out = Path(out)
    if out.is_symlink():
        out = out.resolve()  # what is written beside it is renamed into it
    if not out.name:
        raise DataError(f"out={out}: expected the name of a folder")
    _check_whole("points", points, 1)
    _check_whole("seed", seed, 0)
    workers = default_workers() if workers is None else workers
    _check_whole("workers", workers, 1)
    key = build_key(source, points, seed)
    try:
        if (existing := _existing(out, key)) is not None:
            return existing
    except DamagedDataset:
        pass  # or about to be replaced: it is looked at again where nobody replaces it
    with locked(lock_of(out), advice=_ADVICE):
        try:
            if (existing := _existing(out, key, held=True)) is not None:  # built by another process meanwhile
                return existing
        except DamagedDataset as damage:
            if not is_built(out):
                raise
            set_aside(out, damage.reason)
        try:
            _build(source, out, key, points, seed, workers, progress)
        except NoSpaceError as error:
            raise NoSpaceError(f"{error}; what is finished is kept: the same command goes on") from error
    return ShapeDataset.load(out)


def _build(source: Source, out: Path, key: str, points: int, seed: int, workers: int, progress: bool) -> None:
    """Read what an earlier build did not, and put the dataset in its place."""
    partial, new = out.with_name(out.name + ".partial"), out.with_name(out.name + ".new")
    items = source.items()
    shards = _plan(items, source.name)
    _prepare(partial, key, items)
    task = ShardTask(source, partial, points, seed, arrow_schema(points))
    with Tracker(f"reading {source.name}", len(items), "items", patience=2.0, enabled=progress) as bar:
        results = _run(task, shards, workers, bar)
    remove(new)  # what a build left that was killed in here
    try:
        manifest = _finish(new, source.name, key, task, results)
    except BaseException as error:
        remove(new)
        if isinstance(error, DataError):
            remove(partial)
        raise
    _put_in_place(new, out, manifest)
    _tidy(out, manifest)


def load_or_build(
    name: str,
    *,
    cache: str | Path | None = None,
    points: int = 2048,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> ShapeDataset:
    """Open a source's dataset from the cache, or build it there first.

    Args:
        name: The source's name, or ``package.module:Class``.
        cache: Folder of datasets; default: ``$ALIGN3D_CACHE`` or ``~/.cache/align3d``.
        points: Number of points per shape, P.
        seed: Seed of the sampling, and of the source where that has one.
        workers: Number of processes of the build; default: the cores that may be used.
        progress: Whether to show a progress bar.
        **settings: The source's settings; ``None`` leaves one at its default.

    Raises:
        DataError: See ``align3d.sources.make_source`` and ``build``.
        NoSpaceError, LockError: See ``build``.
    """
    if "seed" in setting_names(source_class(name)):
        settings["seed"] = seed
    source = make_source(name, **settings)
    _check_whole("points", points, 1)
    _check_whole("seed", seed, 0)
    folder = f"{re.sub(r'[^A-Za-z0-9_]+', '-', source.name)}-{build_key(source, points, seed)[:16]}"
    root = Path(cache).expanduser() if cache is not None else default_cache()
    return build(source, root / folder, points=points, seed=seed, workers=workers, progress=progress)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name}={value!r}, expected a whole number from {least}")


def _existing(out: Path, key: str, *, held: bool = False) -> ShapeDataset | None:
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
    if _is_free(out):
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
    if changed and not held:
        raise DamagedDataset(f"{out / changed[0]} is not as it was written")
    if held:
        if changed:
            print(f"{out}: {' and '.join(changed)} made anew, damaged before", file=sys.stderr, flush=True)
            manifest.write_hugging_face(out)
        _tidy(out, manifest)
    return load(out, verify=True)


def _is_free(out: Path) -> bool:
    return not out.exists() or (out.is_dir() and not any(out.iterdir()))


def _plan(items: Sequence[Item], name: str) -> list[Sequence[Item]]:
    """Items by shard; a shard's size depends on the number of items alone."""
    if not items:
        raise DataError(f"data={name}: nothing to read; check the source's settings")
    twice, times = Counter(item.id for item in items).most_common(1)[0]
    if times > 1:
        raise DataError(f"data={name}: two items have the id {twice!r}, expected each once")
    size = min(max(_MIN_SHARD, math.ceil(len(items) / _SHARDS)), _MAX_SHARD)
    return [items[start : start + size] for start in range(0, len(items), size)]


def _prepare(partial: Path, key: str, items: Sequence[Item]) -> None:
    """A folder for the shards; what another build left there is removed."""
    plan = {"key": key, "items": hash_lines(item.id for item in items)}
    if _read_plan(partial) != plan:
        remove(partial)
        write_json(partial / _PLAN, plan)


def _read_plan(partial: Path) -> dict[str, Any]:
    """What a build began to write in a folder; nothing if nobody can tell."""
    path = partial / _PLAN
    try:
        return checked_json(path, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _run(task: ShardTask, shards: list[Sequence[Item]], workers: int, bar: Tracker) -> list[ShardResult]:
    """Every shard's result, in order: those found finished, and those that are read now."""
    results: dict[int, ShardResult] = {}
    for index, items in enumerate(shards):
        if (result := task.finished(index)) is not None:
            results[index] = result
            bar.skip(len(items))
    missing = [index for index in range(len(shards)) if index not in results]
    if missing and ((workers > 1 and len(missing) > 1) or _can_crash(task.source)):
        results |= Workers(task, shards, min(workers, len(missing)), bar.advance).run(missing)
    else:
        for index in missing:
            known = {}
            if (place := task.position(index)) is not None:  # where an earlier build died
                item = shards[index][place]
                known = {item.id: read_alone(task, item)}
            results[index] = task.run(index, shards[index], known, bar.advance)
    return [results[index] for index in range(len(shards))]


def _can_crash(source: Source) -> bool:
    """Whether a source is to be read in a process of its own even where one process is enough.

    There is none where it could not be started: for a source that was typed in or cannot be pickled, for a
    script whose own code would run again there, as it asks for no ``__name__``, and in a process that may
    have no children.
    """
    if not getattr(source, "can_crash", True) or multiprocessing.current_process().daemon:
        return False
    try:
        pickle.dumps(source)
    except Exception:  # whatever its parts raise
        return False
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        return type(source).__module__ != "__main__"
    try:
        return "__name__" in Path(script).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


def _finish(new: Path, name: str, key: str, task: ShardTask, results: list[ShardResult]) -> Manifest:
    """Write what goes with the shards into a folder of its own, and move them there under their final names.

    They come last, when nothing takes room any more.
    """
    rejections = [rejection for result in results for rejection in result.rejections]
    files = [result.file for result in results if result.file is not None]
    if not files:
        first = "; ".join(f"{rejection.item}: {rejection.reason}" for rejection in rejections[:3])
        raise DataError(f"data={name}: none of {len(rejections)} items can be used; the first: {first}")
    axes = sorted({axis for result in results for axis in result.up_axes})
    if len(axes) > 1:
        raise DataError(
            f"data={name}: shapes with different up axes ({', '.join(axes)}); the source must rotate"
        )
    data = f"data-{key[:16]}"
    shards = [
        replace(file, file=f"{data}/data-{number:05d}-of-{len(files):05d}.arrow")
        for number, file in enumerate(files)
    ]
    lines = [json.dumps(asdict(rejection), ensure_ascii=False) + "\n" for rejection in rejections]
    write_text(new / data / REJECTIONS, "".join(lines))
    losses = [loss for result in results for loss in result.lost_colors]
    lines = [json.dumps(asdict(loss), ensure_ascii=False) + "\n" for loss in losses]
    write_text(new / data / LOST_COLORS, "".join(lines))
    lines = [
        json.dumps(asdict(note), ensure_ascii=False) + "\n" for result in results for note in result.notes
    ]
    write_text(new / data / NOTES, "".join(lines))
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        key=key,
        hash=_content_hash(task, files),
        points=task.points,
        seed=task.seed,
        up_axis=axes[0],
        rows=sum(shard.rows for shard in shards),
        rejected=len(rejections),
        shards=tuple(shards),
        lost_colors=len({loss.item for loss in losses}),
        files=file_facts(new, [f"{data}/{name}" for name in (REJECTIONS, LOST_COLORS, NOTES)]),
    )
    manifest.write(new)
    manifest.write_hugging_face(new)
    for file, shard in zip(files, shards, strict=True):
        os.replace(task.folder / file.file, new / shard.file)
    sync_tree(new)
    return manifest


def _content_hash(task: ShardTask, files: Sequence[ShardInfo]) -> str:
    """Hash of ids, content and captions: the same on every machine, whatever its floats."""
    lines = [json.dumps([CONTENT, task.points, task.seed])]
    for file in files:
        with pa.memory_map(str(task.folder / file.file)) as source:
            table = pa.ipc.open_stream(source).read_all().select(["id", "content_hash", "captions"])
        lines.extend(json.dumps(list(row.values())) for row in table.to_pylist())
    return hash_lines(lines)


def _put_in_place(new: Path, out: Path, manifest: Manifest) -> None:
    """Put a finished dataset in its place: who opens it finds the older one or this one.

    The manifest's renaming is the one step, and what is the older one's alone is removed afterwards. Who has
    mapped that reads on.
    """
    if _is_free(out):
        os.replace(new, out)
        sync(out.parent)
        return
    remove(out / manifest.data)  # what a build left that was killed in here
    for name in (manifest.data, MANIFEST, INFO, STATE):
        os.replace(new / name, out / name)
    sync(out)


def _tidy(out: Path, manifest: Manifest) -> None:
    """Remove what a finished dataset does not need: an older one's files, and what its own build left."""
    kept = {manifest.data, MANIFEST, INFO, STATE, *(shard.file for shard in manifest.shards)}
    if manifest.schema == 1:
        kept |= {REJECTIONS, LOST_COLORS, NOTES}
    for path in out.iterdir():
        if path.name not in kept and OWN_NAMES.fullmatch(path.name):
            remove(path)
    remove(out.with_name(out.name + ".new"))
    partial = out.with_name(out.name + ".partial")
    if _read_plan(partial).get("key") == manifest.key:
        remove(partial)
