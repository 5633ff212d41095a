"""Build that is spread over machines: each reads a part, and the parts are merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from align3d.building import as_read, making
from align3d.building.collecting import contents_of
from align3d.building.deciding import Judgement
from align3d.building.order import code_hash, crew_of, key_of, order_of
from align3d.building.part_manifest import PartManifest, files_of, find_parts, finish_part, gather
from align3d.building.placing import folder_of, partial_of
from align3d.building.plan import Part, dealt, plan_of, prepare, shards_of
from align3d.building.shard_reading import read_shards
from align3d.building.shards import ShardTask
from align3d.building.stages import Recipe, Stage
from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.sources import Source
from align3d.store import SCHEMA, arrow_schema


def build_part(
    source: Source,
    out: str | Path,
    part: Part,
    *,
    points: int = 2048,
    seed: int = 0,
    engine: str = "local",
    workers: int | None = None,
    progress: bool = True,
    stages: Sequence[Stage] = (),
    command: str = "",
) -> Path:
    """Build one of the parts of a dataset, in a folder of its own in ``out``, for `merge`.

    Args:
        source: Source of the shapes, the same for every part.
        out: Folder of the parts, which several machines may share.
        part: Which part of how many.
        points: Points of a shape, P.
        seed: Seed of the sampling.
        engine: What the processes belong to: this machine (local) or Ray.
        workers: Processes that read; None: as many as cores may be used.
        progress: Say how far it is.
        stages: What every record goes through behind the source.
        command: Command line that builds the whole dataset, for its datasheet.

    Returns:
        The part's folder.

    Raises:
        DataError: Wrong settings, nothing to read, or something else is in its place.
        NoSpaceError: The disk does not take it; what is finished is kept, and the same call goes on.
    """
    order, crew = order_of(source, points, seed, stages), crew_of(engine, workers)
    place = folder_of(Path(out) / part.folder)
    key = order.key()
    with making.held(place):
        if place.exists():
            if PartManifest.read_from(place).key == key:
                return place
            raise DataError(f"{place} is a part of another build; choose another folder or remove it")
        items = source.items()
        shards = shards_of(items, source.name, order.recipe.points)
        plan, partial, own = plan_of(key, items), partial_of(place), dealt(shards, part)
        prepare(partial, plan)
        task = ShardTask(source, partial, order.recipe, arrow_schema(points), order.stages)
        results = dict(zip(own, read_shards(task, own, crew, progress), strict=True))
        manifest = PartManifest(
            part=part,
            schema=SCHEMA,
            code=code_hash(),
            source=source.name,
            fingerprint=order.fingerprint(),
            points=points,
            seed=seed,
            key=key,
            items=str(plan["items"]),
            shards=len(shards),
            read=tuple(own),
            files=files_of(partial, results),
            command=command,
        )
        finish_part(partial, place, manifest)
    return place


def merge(
    parts: str | Path,
    out: str | Path,
    judgement: Judgement | None = None,
    *,
    progress: bool = True,
    words: Sequence[str] = (),
) -> ShapeDataset:
    """Put the parts of a build together: the same bytes as a build in one.

    The parts stay; the dataset's shards are hard links to theirs, or copies on another file system.

    Args:
        parts: Folder that holds the folders of all parts.
        out: Folder of the dataset; as for ``align3d.pipeline.build``.
        judgement: Those who decide about it; None: nobody.
        progress: Say how far filters are.
        words: Arguments that name them, for the datasheet.

    Raises:
        DataError: A part is missing, there twice, damaged, or of another build; or as for the build.
        NoSpaceError: The disk does not take it.
    """
    found = find_parts(Path(parts))
    first = next(iter(found.values()))
    recipe = Recipe(first.points, first.seed)
    if first.code != code_hash() or key_of(first.source, first.fingerprint, recipe) != first.key:
        raise DataError(
            f"parts={parts}: built by another version of this package; merge with that, or build them again"
        )
    out, judgement = folder_of(out), judgement or Judgement()
    key = judgement.key(first.key)
    with making.held(out):
        if (done := as_read.find(out, key)) is not None:
            return done
        raw = as_read.take_over(out, first.key) if judgement else None
        if raw is None:
            place = as_read.raw_of(out) if judgement else out
            partial = partial_of(place)
            prepare(partial, {"key": first.key, "items": first.items})
            contents = contents_of(partial, gather(found, partial), first.source)
            raw = making.put_together(place, first.source, first.key, recipe, contents, first.command)
        if judgement:
            command = " ".join([first.command, *words]) if first.command else ""
            making.decide(raw, out, key, judgement, progress=progress, command=command)
        as_read.drop_other(out, first.key)
    return ShapeDataset.load(out)
