"""Making of a dataset in its folder: of a source's items, or of a dataset as it was read and decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align3d.building.collecting import Contents, collect, contents_of
from align3d.building.deciding import Judgement, apply
from align3d.building.order import Crew, Order
from align3d.building.placing import LOCK_ADVICE, new_of, partial_of, put_in_place
from align3d.building.plan import plan_of, prepare, shards_of
from align3d.building.shard_reading import read_shards
from align3d.building.shards import ShardTask
from align3d.building.stages import Recipe
from align3d.dataset import ShapeDataset
from align3d.datasheet import write_datasheet
from align3d.errors import DataError
from align3d.store import arrow_schema, lock_of
from durable.errors import NoSpaceError
from durable.file_lock import locked
from durable.whole_files import remove


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Hold a folder's lock; report a full disk with what becomes of the rest."""
    with locked(lock_of(place), advice=LOCK_ADVICE):
        try:
            yield
        except NoSpaceError as error:
            raise NoSpaceError(f"{error}; what is finished is kept: the same command goes on") from error


def read(order: Order, place: Path, key: str, crew: Crew, *, progress: bool, command: str) -> ShapeDataset:
    """Read what an earlier build did not, and put the dataset in its place.

    Args:
        order: What is to be read.
        place: Folder of the dataset, whose lock is held.
        key: The order's.
        crew: Who reads.
        progress: Whether to say how far it is.
        command: Command line that builds it, for its datasheet; may be empty.
    """
    source, partial = order.source, partial_of(place)
    items = source.items()
    shards = shards_of(items, source.name, order.recipe.points)
    prepare(partial, plan_of(key, items))
    schema = arrow_schema(order.recipe.points)
    task = ShardTask(source, partial, order.recipe, schema, order.stages)
    results = read_shards(task, shards, crew, progress)
    try:
        contents = contents_of(partial, results, source.name)
    except DataError:
        remove(partial)
        raise
    return put_together(place, source.name, key, order.recipe, contents, command)


def decide(
    raw: ShapeDataset, out: Path, key: str, judgement: Judgement, *, progress: bool, command: str
) -> ShapeDataset:
    """Apply what was decided about a dataset as it was read, and put the result in its place."""
    partial = partial_of(out)
    remove(partial)
    try:
        contents = apply(raw, judgement.decisions(raw, progress), partial)
        recipe = Recipe(raw.num_points, raw.manifest.seed)
        return put_together(out, raw.name, key, recipe, contents, command)
    finally:
        remove(partial)


def put_together(
    place: Path, name: str, key: str, recipe: Recipe, contents: Contents, command: str
) -> ShapeDataset:
    """Make a dataset of finished shards, with its datasheet, and put it in its place.

    Args:
        place: Folder of the dataset, whose lock is held.
        name: Name of the source.
        key: Hash of what it is built from.
        recipe: Points and seed.
        contents: What it holds.
        command: Command line that builds it.
    """
    new = new_of(place)
    remove(new)  # what a build left that was killed in here
    try:
        manifest = collect(new, name, key, recipe, contents)
        write_datasheet(ShapeDataset.load_held(new), command=command)
    except BaseException:
        remove(new)
        raise
    put_in_place(new, place, manifest)
    return ShapeDataset.load_held(place)
