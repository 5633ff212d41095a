"""ShapeNet-55 source: the shapes of ULIP's triplets, captioned by the names of their synsets."""

from __future__ import annotations

from collections.abc import Iterator

from align3d.sources.benchmarks.published import PublishedSource, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.benchmarks.published_values import cloud_of, is_below, read_json, read_text
from align3d.sources.benchmarks.restricted_pickle import load_untrusted

SHAPENET_TERMS = (
    "LicenseRef-ShapeNet",
    "ShapeNet's terms of use: for non-commercial research and education only",
)
"""License of ShapeNet, and of all that is made of it."""


def _entries(source: ShapeNet55Source) -> Iterator[Entry]:
    """Shapes of the split's list, each with all names of its synset."""
    names: dict[str, tuple[str, ...]] = {}
    for synset in read_json(source.base / "taxonomy.json", list):
        if isinstance(synset, dict) and "synsetId" in synset:
            listed = (name.strip() for name in str(synset.get("name", "")).split(","))
            names[str(synset["synsetId"])] = tuple(filter(None, listed))
    for line in dict.fromkeys(read_text(source.base / f"{source.split}.txt").split()):
        synset, _, _ = line.partition("-")  # a model's name may hold further ones
        said = names.get(synset, ())
        file = f"shapenet_pc/{line}"
        problem = ""
        if not said:
            problem = f"synset {synset!r} has no name in taxonomy.json"
        elif not is_below(source.base, file):
            problem = f"no file that {source.split}.txt names: {file}"
        yield Entry(line.removesuffix(".npy"), file, said[0] if said else "", said, problem=problem)


def _cloud(shape: Shape) -> Cloud:
    return cloud_of(load_untrusted(shape.path), shape.where)


@published_source("shapenet55")
class ShapeNet55Source(PublishedSource):
    """ShapeNet-55 as ULIP's triplets have it: plain clouds, each with the names of its synset."""

    LAYOUTS = (
        Layout("ulip", ("taxonomy.json", "{source.split}.txt", "shapenet_pc/*.npy"), _entries, _cloud),
    )
    PUBLISHED = Publication("the ShapeNet-55 folder of ULIP", "github.com/salesforce/ULIP", *SHAPENET_TERMS)
