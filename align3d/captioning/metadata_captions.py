"""Captions without a model: a source's own, from metadata, from a captions file, from KiCad footprints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from align3d.captioning.caption_settings import PREFIX
from align3d.captioning.protocol import Caption, Offer, Subject
from align3d.errors import DataError, UserError
from align3d.hashing import hash_bytes, hash_json, hash_lines
from align3d.sources.caption_file import Entry, read_captions
from align3d.sources.footprints import Usage, by_fit, captions_of, read_footprint

FIELDS = ("category", "name", "size", "parts")
"""Fields of a template and of prompts that come from metadata."""
_FIELD = re.compile(r"\{(\w*)\}")


class OwnCaptions:
    """Captions that a source gives with its shapes, with their own origins."""

    name: ClassVar[str] = "source"
    waits: ClassVar[bool] = False

    def fingerprint(self) -> str:
        """Nothing but the step's name."""
        return hash_json([self.name])

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """The source's captions."""
        return Offer(subject.own)


class TemplateCaptions:
    """A caption made from metadata.

    A field that a shape lacks takes the words up to the nearest commas with it: of ``{category}, {size}``
    there is left ``0.1 x 0.2 x 0.3 m`` where it has no category.

    Args:
        template: Text with fields in braces.

    Raises:
        UserError: It names no field, or one that there is not.
    """

    name: ClassVar[str] = "template"
    waits: ClassVar[bool] = False

    def __init__(self, template: str) -> None:
        check_fields("template", template, FIELDS)
        if not _FIELD.search(template):
            raise UserError(f"{PREFIX}template={template}: expected fields such as {{category}}")
        self._template = template

    def fingerprint(self) -> str:
        """Hash of the template."""
        return hash_json([self.name, self._template])

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """The template with its fields filled in; nothing where the shape has none of them."""
        values, pieces, told = metadata(subject), [], False
        for piece in self._template.split(","):
            names = _FIELD.findall(piece)
            if all(values[name] for name in names):
                pieces.append(filled(piece, values))
                told = told or bool(names)
        text = " ".join(",".join(pieces).split()).strip(" ,;")
        return Offer((Caption(text, self.name),)) if told else Offer()


class FileCaptions:
    """Captions of a table whose paths are the shapes' ids.

    Args:
        path: CSV, TSV, JSONL or Parquet file with the columns ``path`` and ``caption``.

    Raises:
        DataError: It cannot be read.
    """

    name: ClassVar[str] = "file"
    waits: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def fingerprint(self) -> str:
        """Hash of the file."""
        try:
            return hash_bytes(b"file", self._path.read_bytes())
        except OSError as error:
            raise DataError(f"{PREFIX}file={self._path}: cannot be read ({error.strerror})") from error

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """The rows of the shape's id."""
        entry = _entries(self._path).get(subject.id)
        if entry is None:
            return Offer()
        if entry.problem:
            return Offer(problems=(entry.problem,))
        return Offer(tuple(Caption(text, "captions file") for text in entry.captions))


class FootprintCaptions:
    """Captions of KiCad footprints for shapes that are named as the models of its library.

    Args:
        folder: Folder of ``*.pretty`` folders with footprints.

    Raises:
        DataError: There are none.
    """

    name: ClassVar[str] = "footprints"
    waits: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = sorted(folder.glob("*/*.kicad_mod"))
        if not self._files:
            raise DataError(f"{PREFIX}footprints={folder}: no footprints there (*/*.kicad_mod)")

    def fingerprint(self) -> str:
        """Hash of the files' names, sizes and times of change."""
        facts = ((path.relative_to(self._folder).as_posix(), path.stat()) for path in self._files)
        return hash_lines(f"{name} {stat.st_size} {int(stat.st_mtime)}" for name, stat in facts)

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """Descriptions of the footprints that name the shape's model, the one of its own name first."""
        model = str(PurePosixPath(subject.id).with_suffix(""))
        usages = by_fit(model, _usages(tuple(self._files)).get(model, []))
        return Offer(tuple(Caption(text, "footprint") for text in captions_of(usages)))


@lru_cache(maxsize=1)
def _entries(path: Path) -> dict[str, Entry]:
    """Rows of a captions file, read once for all shards of a process."""
    return read_captions(path)


@lru_cache(maxsize=1)
def _usages(files: tuple[Path, ...]) -> dict[str, list[Usage]]:
    """What footprints say by the name of the model, read once for all shards of a process."""
    found: dict[str, list[Usage]] = {}
    for path in files:
        for usage in read_footprint(path):
            found.setdefault(usage.model, []).append(usage)
    return found


def metadata(subject: Subject) -> dict[str, str]:
    """Values of the `FIELDS` of a shape; empty where it has none."""
    category = subject.category.replace("_", " ").strip()
    name = PurePosixPath(subject.id).stem.replace("_", " ").strip()
    return {
        "category": category,
        "name": name,
        "size": size_words(subject.size_m),
        "parts": _listed(subject.part_names),
    }


def size_words(size_m: Sequence[float]) -> str:
    """An extent in a unit that suits it: ``10 x 2.5 x 12 mm``."""
    largest = max(size_m)
    unit, meters = next(
        (unit for unit in (("mm", 1e-3), ("cm", 1e-2), ("m", 1.0)) if largest < 100 * unit[1]), ("m", 1.0)
    )
    return " x ".join(f"{extent / meters:.3g}" for extent in size_m) + f" {unit}"


def _listed(names: Sequence[str]) -> str:
    shown = [name.replace("_", " ") for name in dict.fromkeys(names) if name.strip()]
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1] if shown else ""


def check_fields(setting: str, text: str, fields: Sequence[str]) -> None:
    """Refuse a template or prompt with a field that there is not.

    Raises:
        UserError: The field, and those that there are.
    """
    stray = [name for name in _FIELD.findall(text) if name not in fields]
    if stray:
        shown = ", ".join(f"{{{name}}}" for name in fields)
        raise UserError(f"{PREFIX}{setting}: no field {{{stray[0]}}} (fields: {shown})")


def filled(text: str, values: Mapping[str, str]) -> str:
    """A template with its fields filled in; braces in the values stay as they are."""
    return _FIELD.sub(lambda match: values[match[1]], text)
