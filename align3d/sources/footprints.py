"""KiCad footprints, which name 3D models and describe the parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from align3d.captions import clean_description, unique_captions
from align3d.sources.file_names import valid_unicode

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_DESCR = re.compile(rf"\(descr\s+{_TEXT}\s*\)")
_TAGS = re.compile(rf"\(tags\s+{_TEXT}\s*\)")
# ${KICAD6_3DMODEL_DIR} and its like of other releases; ${KISYS3DMOD} before release 6.
_MODEL = re.compile(
    r'\(model\s+"?\$\{(?:KICAD\d*_3DMODEL_DIR|KISYS3DMOD)\}/([^")\n]+?\.(?:wrl|step|stp|wrz))"?\s'
    r"((?:(?!\(model\s).)*)",
    re.DOTALL | re.IGNORECASE,
)
_SCALE = re.compile(r"\(scale\s+\(xyz\s+([^\s)]+)\s+([^\s)]+)\s+([^\s)]+)\s*\)")
_FEW_WORDS = 3


@dataclass(frozen=True)
class Usage:
    """One footprint's use of a model.

    Attributes:
        footprint: The footprint's name.
        model: Path of the model without suffix, under the folder of 3D models.
        descr: Cleaned description; may be empty.
        tags: Cleaned tags; may be empty.
        scale: Factors by which the footprint draws the model larger along x, y, z.
        alone: Whether the footprint names no other model.
    """

    footprint: str
    model: str
    descr: str
    tags: str
    scale: tuple[float, float, float]
    alone: bool


def read_footprint(path: Path) -> list[Usage]:
    """The models that a ``.kicad_mod`` file names; nothing where it names none.

    Raises:
        OSError: The file cannot be read.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    models = _MODEL.findall(text)
    if not models:
        return []
    descr, tags = _first(_DESCR, text), _first(_TAGS, text)
    return [
        Usage(
            footprint=valid_unicode(path.stem),
            model=name.rpartition(".")[0],
            descr=clean_description(descr),
            tags=clean_description(tags),
            scale=_scale(rest),
            alone=len(models) == 1,
        )
        for name, rest in models
    ]


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _scale(text: str) -> tuple[float, float, float]:
    match = _SCALE.search(text)
    try:
        scale = (float(match[1]), float(match[2]), float(match[3])) if match else (1.0, 1.0, 1.0)
    except ValueError:
        return (1.0, 1.0, 1.0)
    return scale if all(0.0 < factor < 1e6 for factor in scale) else (1.0, 1.0, 1.0)


def by_fit(model: str, usages: list[Usage]) -> list[Usage]:
    """The usages of a model, the one that describes it best first.

    That is the footprint with the model's own name, then those whose names share the longest beginning with
    it; a footprint that joins several models describes their sum and comes last.
    """
    name = model.rpartition("/")[2]

    def misfit(usage: Usage) -> tuple[bool, bool, int, int, str]:
        shared = next(
            (i for i, (a, b) in enumerate(zip(name, usage.footprint, strict=False)) if a != b),
            min(len(name), len(usage.footprint)),
        )
        return not usage.alone, usage.footprint != name, -shared, len(usage.footprint), usage.footprint

    return sorted(usages, key=misfit)


def captions_of(usages: list[Usage]) -> tuple[str, ...]:
    """Captions from usages in their order: descriptions, and tags where a description is missing or short."""
    captions: list[str] = []
    for usage in usages:
        captions.append(usage.descr)
        if len(usage.descr.split()) < _FEW_WORDS:
            captions.append(usage.tags)
    return unique_captions(captions)
