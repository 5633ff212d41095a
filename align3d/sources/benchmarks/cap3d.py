"""Cap3D source: Objaverse's shapes as colored clouds, with one generated caption each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import cloud_of
from align3d.sources.benchmarks.restricted_pickle import load_tensor
from align3d.table_file import csv_records, decode


def _entries(source: Cap3dSource) -> Iterator[Entry]:
    """A shape for each uid of the captions file, and one for each cloud that it does not name."""
    said: dict[str, list[str]] = {}
    torn: dict[str, str] = {}
    path = source.captions_file()
    try:
        text = decode(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    for line, values in csv_records(text, ",", str(path)):
        if len(values) == 2:
            said.setdefault(values[0].strip(), []).append(values[1].strip())
        else:
            torn[values[0].strip()] = f"line {line}: {len(values)} values, expected uid,caption"
    files = visible(source.base.rglob("*.pt"), source.base)
    clouds = {file.stem: file.relative_to(source.base).as_posix() for file in files}
    for uid in {**said, **clouds, **torn}:
        yield Entry(uid, problem=torn[uid]) if uid in torn else _entry(uid, said.get(uid), clouds.get(uid))


def _entry(uid: str, captions: list[str] | None, file: str | None) -> Entry:
    if captions is None:
        return Entry(uid, problem="file without a caption: the captions file does not name it")
    if file is None:
        return Entry(uid, problem=f"caption without a file: no {uid}.pt")
    said = tuple(dict.fromkeys(filter(None, captions)))
    return Entry(uid, file, captions=said, problem="" if said else "no caption: an empty text")


def _cloud(shape: Shape) -> Cloud:
    """Points of a tensor (6, N): xyz, then rgb."""
    if not shape.path.stat().st_size:
        raise RejectedItem(f"{shape.where}: an empty file")
    values = load_tensor(shape.path)
    if values.ndim != 2 or values.shape[0] != 6:
        raise RejectedItem(f"{shape.where}: tensor {list(values.shape)}, expected (6, N)")
    return cloud_of(values[:3].T, shape.where, values[3:].T)


@published_source("cap3d")
class Cap3dSource(PublishedSource):
    """Cap3D: clouds of Objaverse (``<uid>.pt``) and a captions file without a header.

    Attributes:
        split: Part of the benchmark to read; it has no split of its own: all.
        captions: Captions file, relative to the root; None: the only ``*.csv`` there.
    """

    LAYOUTS = (Layout("pt", ("*.csv", "**/*.pt"), _entries, _cloud, "z"),)
    PUBLISHED = Publication(
        "Cap3D's captions and PointCloud_pt_zips (unpacked)",
        "huggingface.co/datasets/tiange/Cap3D",
        "ODC-By-1.0",
        "ODC-By 1.0, each shape under its own license",
    )

    split: str = one_of("all")
    captions: str | None = None

    def hint(self) -> str:
        """Archives that are not unpacked."""
        packed = any(visible(self.top.glob("**/*.zip"), self.top))
        return " (it holds archives: unpack them)" if packed else ""

    def captions_file(self) -> Path:
        """The captions file.

        Raises:
            DataError: There are several.
        """
        if self.captions is not None:
            return self.base / self.captions
        files = list(visible(self.base.glob("*.csv"), self.base))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"several captions files ({names}); choose one with data.captions")
        return files[0]
