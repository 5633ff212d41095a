"""PartNetE source: colored clouds of PartNet-Mobility objects, with the parts of each class by name."""

from __future__ import annotations

from collections.abc import Iterator

from align3d.errors import RejectedItem
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import labels_of, read_json
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
from align3d.sources.meshes.ply import read_ply
from align3d.sources.meshes.scene import CloudPart

_META = "PartNetE_meta.json"


def _entries(source: PartNetESource) -> Iterator[Entry]:
    """A shape for each folder ``<Class>/<id>`` of the split."""
    parts = read_json(source.base / _META, dict)
    folders = [source.base / source.split, source.base / "data" / source.split]
    folder = next(folder for folder in folders if folder.is_dir())
    for path in visible((path for path in folder.glob("*/*") if path.is_dir()), folder):
        category, name = path.parent.name, path.relative_to(source.base).as_posix()
        problem = ""
        for file in ("pc.ply", "label.npy"):
            if not (path / file).is_file():
                problem = f"no {file}: in {name}"
        if category not in parts:
            problem = f"class {category!r} is not in {_META}"
        yield Entry(
            f"{category}/{path.name}",
            f"{name}/pc.ply",
            category,
            beside=(f"{name}/label.npy",),
            extra=tuple(map(str, parts.get(category, ()))),
            problem=problem,
        )


def _cloud(shape: Shape) -> Cloud:
    """Points of ``pc.ply`` with ``semantic_seg`` of ``label.npy``."""
    scene = read_ply(shape.path, shape.source.base)
    part = scene.parts[0]
    if not isinstance(part, CloudPart):
        raise RejectedItem(f"{shape.where}: a mesh, expected a cloud")
    (label_file,) = shape.entry.beside
    labels = load_untrusted(shape.source.base / label_file)
    if not isinstance(labels, dict) or "semantic_seg" not in labels:
        raise RejectedItem(f"{label_file}: a {type(labels).__name__} without 'semantic_seg'")
    names: tuple[str, ...] = shape.entry.extra
    seg = labels_of(labels["semantic_seg"], len(part.points), len(names), label_file)
    return Cloud(part.points, part.colors, seg, names, lost=scene.lost)


@published_source("partnete")
class PartNetESource(PublishedSource):
    """PartNetE: colored clouds of 45 classes with parts by name.

    Attributes:
        split: Part of the benchmark to read: test, few_shot or train.
    """

    LAYOUTS = (
        Layout(
            "ply",
            (_META, "{source.split}|data/{source.split}"),
            _entries,
            _cloud,
            "z",
            reads_meshes=True,
        ),
    )
    PUBLISHED = Publication(
        "PartNetE_meta.json and data/",
        "huggingface.co/datasets/minghua/PartSLIP",
        "LicenseRef-PartNet-Mobility",
        "terms of use of PartNet-Mobility and ShapeNet",
    )

    split: str = one_of("test", "few_shot", "train")
