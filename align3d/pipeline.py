"""Build of a dataset from a source: in parallel, resumable, whole or not at all.

    python -m align3d.build source=kicad out=DIR [root=...] [size=...] [points=...] [seed=...] [workers=...]

Shards are written into ``OUT.partial``; when all are there, the dataset is put together in ``OUT.new``. Where
there was none, that folder is renamed; else what it holds is moved in beside the older dataset, and its
manifest takes the place of the other's at one blow.

A build that was cut off goes on with the shards that it lacks, and ends with the same
bytes as one that was not: each item has a random generator of its own, so that neither order nor the number
of workers matters. The parts of a build are in ``align3d.building``, one idea a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from align3d.building import as_read, making
from align3d.building.deciding import Judgement
from align3d.building.order import crew_of, default_workers, order_of
from align3d.building.placing import existing, folder_of
from align3d.building.stages import Stage
from align3d.captioning.captioner import captioner_of
from align3d.dataset import ShapeDataset
from align3d.errors import DamagedDataset
from align3d.sources import Source, make_source, takes_seed
from align3d.sources.built import BuiltSource
from durable.whole_files import remove

__all__ = ["build", "build_key", "default_cache", "default_workers", "load_or_build"]


def default_cache() -> Path:
    """``$ALIGN3D_CACHE``, or ``~/.cache/align3d``."""
    return Path(os.environ.get("ALIGN3D_CACHE") or "~/.cache/align3d").expanduser()


def build_key(source: Source, points: int, seed: int, stages: Sequence[Stage] = ()) -> str:
    """Hash of what a dataset is built from, before anything is decided about it."""
    return order_of(source, points, seed, stages).key()


def build(
    source: Source,
    out: str | Path,
    *,
    points: int = 2048,
    seed: int = 0,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = True,
    stages: Sequence[Stage] = (),
    judgement: Judgement | None = None,
    command: str = "",
) -> ShapeDataset:
    """Build a dataset, or open it where ``out`` already holds just this one, every byte as it was written.

    A damaged dataset is moved aside (``OUT.damaged``) and built anew, and one line on stderr says so.

    Where filters or reviewers have a say, the dataset as it was read is kept in ``OUT.raw``: when only
    decisions change, nothing is read anew. Shards in which nothing was changed are hard links to it.

    A script that calls this needs ``if __name__ == "__main__":`` around its own code, as worker processes are
    spawned, not forked.

    Args:
        source: Source of the shapes.
        out: Folder of the dataset. An older dataset there is replaced when the new one is complete, in one
            step; who has it open reads on in it.
        points: Points of a shape, P.
        seed: Seed of the sampling.
        engine: What the processes belong to: this machine (local), or Ray (docs/pipeline.md).
        workers: Processes that read; an item that crashes one is rejected by name. None: as many as cores
            may be used.
        progress: Say how far it is, with rate and time left, where it takes more than a few seconds.
        stages: What every record goes through behind the source; see ``align3d.building.stages``.
        judgement: Those who decide about the dataset as it was read; None: nobody.
        command: Command line that builds the dataset, for its datasheet.

    Raises:
        DataError: Wrong settings, nothing to read, every item rejected, or ``out`` holds something else.
        ServiceDown: A stage needs something that does not answer; the same call goes on.
        NoSpaceError: The disk does not take it; what is finished is kept, and the same call goes on.
        LockError: The file system knows no locks.
    """
    order, crew = order_of(source, points, seed, stages), crew_of(engine, workers)
    out, judgement = folder_of(out), judgement or Judgement()
    told: dict[str, Any] = {"progress": progress, "command": command}
    wanted = order.key()
    key = judgement.key(wanted)
    try:
        if (found := existing(out, key)) is not None:
            return found
    except DamagedDataset:
        pass  # or about to be replaced: it is looked at again where nobody replaces it
    with making.held(out):
        if (found := as_read.find(out, key)) is not None:  # built by another process meanwhile
            return found
        if judgement:
            raw = as_read.take_over(out, wanted)
            if raw is None:
                raw = making.read(order, as_read.raw_of(out), wanted, crew, **told)
            making.decide(raw, out, key, judgement, **told)
        elif (raw := as_read.find(as_read.raw_of(out), wanted)) is not None:
            as_read.second_copy(raw, out)
            remove(raw.path)
        else:
            making.read(order, out, wanted, crew, **told)
        as_read.drop_other(out, wanted)
    return ShapeDataset.load(out)


def load_or_build(
    name: str,
    *,
    cache: str | Path | None = None,
    points: int = 2048,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    captioner: Mapping[str, Any] | None = None,
    **settings: Any,
) -> ShapeDataset:
    """Open a source's dataset from the cache, or build it there first.

    The finished dataset of ``built`` is opened where it lies, if it has so many points.

    Args:
        name: The source's name, or ``package.module:Class``; several with commas.
        cache: Folder of datasets; default: ``$ALIGN3D_CACHE`` or ``~/.cache/align3d``.
        points: Number of points per shape, P.
        seed: Seed of the sampling, and of the source where that has one.
        workers: Number of processes of the build; default: the cores that may be used.
        progress: Whether to show a progress bar.
        captioner: Settings of captions beyond the source's, see `CaptionerSettings`; None: there are none.
        **settings: The source's settings; ``None`` leaves one at its default.

    Raises:
        DataError: See ``align3d.sources.make_source`` and ``build``.
        NoSpaceError, LockError: See ``build``.
    """
    if takes_seed(name):
        settings["seed"] = seed
    source = make_source(name, **settings)
    built = source if isinstance(source, BuiltSource) and captioner is None else None
    if built is not None and (dataset := built.as_it_is(points)) is not None:
        return dataset
    root = Path(cache).expanduser() if cache is not None else default_cache()
    captions = captioner_of(captioner, source, root)
    stages: list[Stage] = [captions] if captions else []
    folder = f"{re.sub(r'[^A-Za-z0-9_]+', '-', source.name)}-{build_key(source, points, seed, stages)[:16]}"
    told: dict[str, Any] = {"points": points, "seed": seed, "workers": workers, "progress": progress}
    with captions.accounted() if captions else nullcontext():
        return build(source, root / folder, stages=stages, **told)
