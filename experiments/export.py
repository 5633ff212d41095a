"""Export of an index to what others search with: ``python -m experiments.export index=FOLDER out=PLACE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from align3d.console import help_page
from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page
from align3d.console.terminal import say
from align3d.errors import UserError, settings_of
from retrieval import MemoryIndex, MissingEngineError
from retrieval.engines import engine_class
from retrieval.exchange.arrow_files import write_lance, write_parquet
from retrieval.exchange.qdrant_collection import COLLECTION, write_qdrant
from retrieval.storage import MANIFEST, read_folder


@dataclass(frozen=True)
class Settings:
    """Settings of the command; ``index`` and ``out`` are to be given.

    Attributes:
        index: Folder of a saved index.
        out: File of Parquet, new folder of Lance or Qdrant, or the address of a Qdrant server (http://…).
        format: What is written.
        collection: Name of Qdrant's collection.
        verify: Compare all files of the index with their checksums first.
    """

    index: Path | None = None
    out: str | None = None
    format: Literal["parquet", "lance", "qdrant"] = "parquet"
    collection: str = COLLECTION
    verify: bool = True


def usage() -> str:
    """Help page of the command."""
    return page(
        "Writes ids, vectors and metadata of an index as Parquet, Lance or Qdrant have them.",
        ["python -m experiments.export index=FOLDER out=PLACE [key=value ...]"],
        "python -m experiments.export index=my_index out=vectors.parquet",
        [Section("settings", help_page.settings_of(Settings))],
    )


def main(arguments: Sequence[str]) -> int:
    """Exports an index; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Opens the index, and writes it.

    Raises:
        UserError: A setting that does not fit, no such index, a package that is not installed, or a place
            that cannot be written to.
    """
    settings = Settings(**values_of(Settings, arguments, "index=my_index"))
    if settings.index is None or settings.out is None:
        raise UserError("index=FOLDER (a saved index) and out=PLACE are to be given")
    with settings_of(f"index={settings.index}"):
        index = _opened(settings.index, settings.verify)
    try:
        with settings_of(f"out={settings.out}"):
            count = _written(index, settings)
    except MissingEngineError as error:
        raise UserError(str(error)) from error
    say(f"{count:,} vectors written to {settings.out}")


def _written(index: Any, settings: Settings) -> int:
    out = settings.out
    assert out is not None
    if settings.format == "qdrant":
        return write_qdrant(index, out, settings.collection)
    if Path(out).is_dir() and settings.format == "parquet":
        raise ValueError("is a folder: expected a file")
    return {"parquet": write_parquet, "lance": write_lance}[settings.format](index, Path(out))


def _opened(folder: Path, verify: bool) -> Any:
    """An index of any engine whose content can be read."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"no index in {folder}: it has no {MANIFEST}")
    name = read_folder(folder, lambda header, _: header, verify=False).get("engine")
    kind = MemoryIndex if name == "memory" else engine_class(str(name))
    if not (hasattr(kind, "load") and hasattr(kind, "get")):
        raise ValueError(f"an index of engine {name!r}, whose content cannot be read")
    return kind.load(folder, verify=verify)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
