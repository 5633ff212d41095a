"""Command that exports a dataset: ``python -m align3d.export dataset=DIR format=parquet out=DIR``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import DataError, UserError
from align3d.exchange import parquet_shards, webdataset_shards
from align3d.exchange.export_index import INDEX, VERSION, ExportIndex
from align3d.store import lock_of
from durable.checksums import file_facts
from durable.disk_space import space_for
from durable.file_lock import locked
from durable.whole_files import link_or_copy, remove, sync_tree

EXAMPLE = "dataset=data/kicad format=webdataset out=data/kicad-webdataset"
Format = Literal["webdataset", "parquet"]
_NAMES = {"webdataset": webdataset_shards.NAME, "parquet": parquet_shards.NAME}


@dataclass(frozen=True)
class ExportSettings:
    """Settings of the export.

    Attributes:
        dataset: Folder of the dataset.
        format: WebDataset shards (tar), or Parquet files as Hugging Face datasets reads them.
        out: Folder of the files, which is made as a whole or not at all.
        rows: Shapes in a file.
    """

    dataset: Path | None = None
    format: Format | None = None
    out: Path | None = None
    rows: Annotated[int, Field(ge=1)] = 1024


def export(
    dataset: ShapeDataset, kind: Format, out: Path, *, rows: int = 1024, progress: bool = True
) -> ExportIndex:
    """Write a dataset in another format, whole or not at all; the same dataset gives the same bytes.

    Shapes are read and written one file at a time, whatever the size of the dataset.

    Args:
        dataset: The dataset.
        kind: The format.
        out: Folder of the files; it may hold the very same export, which is then left alone.
        rows: Shapes in a file.
        progress: Whether to say how far it is.

    Raises:
        DataError: ``out`` holds something else.
        NoSpaceError: The disk does not take it; nothing is left of it.
    """
    with locked(lock_of(out), advice="choose a folder on another file system (out=)"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            index = ExportIndex.read(out) if out.is_dir() else None
            if index is None or (index.format, index.hash) != (kind, dataset.hash):
                raise DataError(f"out={out} holds something else; choose another folder or remove it")
            index.check(out)
            return index
        new = out.with_name(out.name + ".new")
        remove(new)
        try:
            with space_for(out):
                index = _write(dataset, kind, new, rows, progress)
                sync_tree(new)
            os.replace(new, out)
        except BaseException:
            remove(new)
            raise
    return index


def _write(dataset: ShapeDataset, kind: Format, new: Path, rows: int, progress: bool) -> ExportIndex:
    starts = range(0, len(dataset), rows)
    names = [_NAMES[kind].format(number=number, count=len(starts)) for number in range(len(starts))]
    with Tracker(f"exporting {dataset.name}", len(dataset), "shapes", patience=2.0, enabled=progress) as bar:
        for start, name in zip(starts, names, strict=True):
            stop = min(start + rows, len(dataset))
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if kind == "parquet":
                parquet_shards.write_parquet(new / name, dataset.table(start, stop))
            else:
                several = (dataset.row(row) for row in range(start, stop))
                webdataset_shards.write_tar(new / name, start, several)
            bar.advance(stop - start)
    lists = [dataset.rejections_file, dataset.lost_colors_file, dataset.notes_file, dataset.decisions_file]
    lists = [path for path in lists if path.is_file()]
    for path in lists:
        link_or_copy(path, new / path.name)
    manifest = dataset.manifest
    index = ExportIndex(
        version=VERSION,
        format=kind,
        name=dataset.name,
        hash=dataset.hash,
        points=manifest.points,
        seed=manifest.seed,
        up_axis=manifest.up_axis,
        rows=len(dataset),
        shards=tuple(names),
        files=file_facts(new, [*names, *(path.name for path in lists)]),
    )
    index.write(new)
    return index


def main(arguments: Sequence[str]) -> int:
    """Export the dataset that the arguments name.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Export the dataset, every byte of which is compared first."""
    settings = ExportSettings(**values_of(ExportSettings, arguments, EXAMPLE.split()[0]))
    if settings.dataset is None or settings.format is None or settings.out is None:
        missing = [name for name in ("dataset", "format", "out") if getattr(settings, name) is None]
        raise UserError(f"{missing[0]}= is missing, as in python -m align3d.export {EXAMPLE}")
    dataset = ShapeDataset.load(settings.dataset.expanduser(), verify=True)
    out = settings.out.expanduser()
    index = export(dataset, settings.format, out, rows=settings.rows)
    say(
        f"{index.rows:,} shapes in {len(index.shards):,} files of {index.format} in {out}; {INDEX} lists them"
    )


def usage() -> str:
    """Help page."""
    return page(
        "Writes a dataset as WebDataset shards or Parquet files, which the sources webdataset and parquet of "
        "align3d.build read.",
        ["python -m align3d.export dataset=DIR format=NAME out=DIR [key=value ...]"],
        f"python -m align3d.export {EXAMPLE}",
        [Section("settings", settings_of(ExportSettings))],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
