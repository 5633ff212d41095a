"""Text of a datasheet: Markdown under a header by which the Hugging Face hub files a dataset."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from align3d.console.declarations import shown
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.describing.dataset_facts import DatasetFacts
from align3d.describing.foreign_markdown import literal, markdown_table

HEADER = "align3d"
"""Name in the header under which our own facts stand."""
_LISTED = 20
_BAR = 30
_MADE_WITH = ("align3d", "numpy", "pyarrow", "datasets", "trimesh")
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
_HUB_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "unlicense", "pddl", "odc-by", "odbl"),
    *(f"cc-by{more}-{version}" for more in ("", "-sa", "-nc", "-nc-sa") for version in ("2.0", "3.0", "4.0")),
    *("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0"),
}
"""Licenses that the hub knows by SPDX's names in small letters; others are ``other`` there."""
_SPLIT_EXAMPLE = (0.1, 0.05)


def datasheet_text(
    dataset: ShapeDataset,
    facts: DatasetFacts,
    picture: str,
    pictured: Sequence[int],
    command: str,
    decisions: Sequence[Decision],
) -> str:
    """The whole datasheet.

    Args:
        dataset: What it is about.
        facts: Counts of it.
        picture: Path of the contact sheet in the dataset's folder.
        pictured: Rows of the shapes on it, in their order.
        command: Command line that builds the dataset; empty if it is not known.
        decisions: Those of filters and reviewers that the build applied.
    """
    parts = [
        _front_matter(dataset, facts, command),
        f"# {literal(dataset.name)}: shapes and captions\n",
        f"{len(dataset):,} shapes of {dataset.num_points:,} colored points each, with {facts.captions:,} "
        "captions that describe them. Written by the build; a build of another dataset in this folder "
        "writes it anew.\n",
        f"![{len(pictured)} of the shapes, numbered as in the table below]({picture})\n",
        markdown_table(
            ("shape", "id", "category", "first caption"),
            [
                (
                    str(at + 1),
                    *map(literal, (dataset.ids[row], dataset.categories[row], dataset.captions[row][0])),
                )
                for at, row in enumerate(pictured)
            ],
        ),
        *_origins(facts),
        *_captions(facts),
        *_shapes(dataset, facts),
        *_left_out(dataset, decisions),
        *_splits(dataset, facts),
        *_gaps(dataset, facts),
        *_making(dataset, command),
    ]
    return "\n".join(parts)


def command_of(text: str) -> str:
    """The command line that an earlier datasheet gives in its header; empty if there is none."""
    lines = text.splitlines()
    try:
        header = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)])) if lines[:1] == ["---"] else {}
        return str(header[HEADER]["command"])
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        return ""


def _front_matter(dataset: ShapeDataset, facts: DatasetFacts, command: str) -> str:
    names = [name.lower() for name in sorted(facts.licenses) if name]
    known = [name for name in names if name in _HUB_LICENSES]
    license_facts: dict[str, Any] = {"license": "unknown"}
    if known and len(known) == len(facts.licenses):
        license_facts = {"license": known[0] if len(known) == 1 else known}
    elif names:
        slug = re.sub(r"[^a-z0-9.]+", "-", names[0]).strip("-.")[:60]
        one = len(facts.licenses) == 1 and slug
        license_facts = {"license": "other", "license_name": slug if one else "several-see-below"}
    own = {"name": dataset.name, "key": dataset.manifest.key, "hash": dataset.hash}
    size = sum(len(dataset) >= 1000 * 10**power for power in range(len(_SIZES) - 1))
    header = {
        **license_facts,
        "pretty_name": f"{' '.join(dataset.name.split())[:80]}: shapes and captions",
        "size_categories": [_SIZES[size]],
        "task_categories": ["text-retrieval", "text-to-3d"],
        "tags": ["3d", "point-cloud", "align3d"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"{dataset.manifest.data}/data-*.arrow"}],
            }
        ],
        HEADER: own | ({"command": command} if command else {}),
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, width=1000)}---\n"


def _origins(facts: DatasetFacts) -> list[str]:
    return [
        "## Sources, licenses, categories\n",
        _counted("source", facts.sources),
        _counted("license (SPDX where there is one)", facts.licenses),
        _counted("category", facts.categories),
    ]


def _captions(facts: DatasetFacts) -> list[str]:
    words = list(facts.caption_words.elements())
    edges = [0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 50, 100]
    bins: Counter[int] = Counter()
    for length, count in facts.caption_words.items():
        bins[max(place for place, edge in enumerate(edges) if edge <= length)] += count
    most = max(bins.values())
    rows = []
    for place in range(min(bins), max(bins) + 1):
        last = edges[place + 1] - 1 if place + 1 < len(edges) else None
        span = f"{max(1, edges[place])} to {last}" if last else f"{edges[place]} and more"
        span = "1" if last == 1 else span
        bar = "█" * round(_BAR * bins[place] / most) or ("▏" if bins[place] else "")
        rows.append((span, bins[place], bar))
    per_shape = sorted(facts.captions_per_shape)
    middle = int(np.median(list(facts.captions_per_shape.elements())))
    return [
        "## Captions\n",
        f"{per_shape[0]} to {per_shape[-1]} captions per shape (median {middle}), of {min(words)} to "
        f"{max(words)} words (median {int(np.median(words))}). Captions that several shapes have: "
        f"{facts.shared_captions:,}.\n",
        markdown_table(("words", "captions", ""), rows),
    ]


def _shapes(dataset: ShapeDataset, facts: DatasetFacts) -> list[str]:
    quantiles = (0, 5, 50, 95, 100)
    sizes = np.percentile(facts.size_m.astype(np.float64), quantiles, axis=0)
    longest = np.percentile(facts.size_m.max(axis=1).astype(np.float64), quantiles)
    heads = ("extent in m", "least", "5 %", "median", "95 %", "most")
    rows = [
        (f"{axis}{' (up)' * (axis == dataset.up_axis)}", *map(_short, sizes[:, at]))
        for at, axis in enumerate("xyz")
    ]
    total = len(dataset)
    named = _counted("name of a part", facts.part_names, "shapes") if facts.part_names else ""
    return [
        "## Shapes\n",
        markdown_table(heads, [*rows, ("longest side", *map(_short, longest))]),
        f"{_of(facts.shapes_with_parts, total)} have points with a named part; "
        f"{_of(total - facts.shapes_without_color, total)} have a color of their own.\n",
        named,
    ]


def _left_out(dataset: ShapeDataset, decisions: Sequence[Decision]) -> list[str]:
    parts = ["## What was left out, changed or guessed\n"]
    parts.append(f"Items of the source that are not in the dataset: {len(dataset.rejections):,}.\n")
    if dataset.rejections:
        parts.append(_counted("rejected for", _kinds(one.reason for one in dataset.rejections), "items"))
    parts.append(f"Shapes that lost colors of their files: {dataset.manifest.lost_colors:,}.\n")
    if dataset.lost_colors:
        parts.append(_counted("colors lost for", _kinds(one.reason for one in dataset.lost_colors), "times"))
    if dataset.notes:
        parts.append(_counted("guessed", _kinds(one.reason for one in dataset.notes), "times"))
    if decisions:
        made = Counter((one.by, one.action, one.reason.partition(":")[0]) for one in decisions)
        rows = [(*map(literal, names), count) for names, count in sorted(made.items())]
        parts.append("Decisions of filters and reviewers:\n")
        parts.append(markdown_table(("by", "decision", "reason", "times"), rows))
    return parts


def _splits(dataset: ShapeDataset, facts: DatasetFacts) -> list[str]:
    said = (
        "None is fixed. `shapes.splits(test=..., reward=...)` deals shapes by the hash of their content: the "
        "same shapes get the same split on every machine, and shapes of equal content stay together"
    )
    test, reward = _SPLIT_EXAMPLE
    if round(len(dataset) * test) and len(dataset) - facts.same_content > 2:
        dealt = dataset.splits(test, reward)
        counts = ", ".join(f"{len(dealt[name]):,} {name}" for name in ("train", "reward", "test"))
        said += f". With test={test} and reward={reward}: {counts}"
    return ["## Splits\n", f"{said}.\n"]


def _gaps(dataset: ShapeDataset, facts: DatasetFacts) -> list[str]:
    total, longest = len(dataset), facts.size_m.max(axis=1)
    found = [
        (facts.licenses[""], "have no license: ask their source before you pass them on"),
        (facts.categories[""], "have no category"),
        (facts.captions_per_shape[1], "have one caption only"),
        (total - facts.shapes_with_parts, "have no named parts"),
        (facts.shapes_without_color, "have no color (0.4 gray stands for it)"),
        (facts.same_content, "have the same content as an earlier shape"),
        (int((longest < 1e-3).sum()), "are shorter than a millimeter: their unit may be wrong"),
        (int((longest > 1e3).sum()), "are longer than a kilometer: their unit may be wrong"),
    ]
    lines = [f"- {_of(count, total)} {what}.\n" for count, what in found if count]
    lines.append("- Whether a caption is true of its shape is not measured here.\n")
    return ["## Known gaps\n", "".join(lines)]


def _making(dataset: ShapeDataset, command: str) -> list[str]:
    made_with = ", ".join(f"{name} {_version(name)}" for name in _MADE_WITH)
    manifest = dataset.manifest
    rows = [
        ("content hash", f"`{manifest.hash}`"),
        ("build key", f"`{manifest.key}`"),
        ("points, seed, schema", f"{manifest.points:,}, {manifest.seed}, {manifest.schema}"),
        ("datasheet made with", f"{made_with}, Python {'.'.join(platform.python_version_tuple()[:2])}"),
    ]
    built = f"{_fenced(command)}\n" if command else "The command was not written down.\n"
    return [
        "## How it was built\n",
        built,
        markdown_table(("", ""), rows),
        "## How to open it\n",
        '```python\nfrom align3d import ShapeDataset\n\nshapes = ShapeDataset.load("FOLDER")  # or '
        'datasets.load_from_disk("FOLDER")\n```\n',
    ]


def _fenced(text: str) -> str:
    """A block of code around a text that may hold marks of such blocks itself."""
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * max(3, *(length + 1 for length in runs), 3)
    return f"{fence}sh\n{' '.join(text.split())}\n{fence}\n"


def _counted(what: str, counts: Counter[str], of: str = "shapes") -> str:
    """Table of the most frequent names; the rest in one line."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rows: list[tuple[str, int]] = [(literal(name) or "(none)", count) for name, count in ranked[:_LISTED]]
    if more := ranked[_LISTED:]:
        rows.append((f"{len(more):,} more", sum(count for _, count in more)))
    return markdown_table((what, of), rows)


def _kinds(reasons: Iterable[str]) -> Counter[str]:
    return Counter(reason.partition(":")[0] for reason in reasons)


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} shapes ({count / total:.1%})"


def _short(length: float) -> str:
    return f"{length:.3g}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def command_line(module: str, settings: Mapping[str, Any]) -> str:
    """A command as it is typed: ``python -m MODULE key=value ...``, quoted for a shell where needed."""
    words = [shlex.quote(f"{key}={shown(value)}") for key, value in settings.items() if value is not None]
    return " ".join(["python -m", module, *words])
