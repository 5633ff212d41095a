"""``python -m align3d.build``: settings as key=value, one line for a mistake, a table at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.pipeline import build
from align3d.sources import SOURCES, did_you_mean, make_source, setting_names, source_class

_OWN = ("source", "out", "points", "seed", "workers", "progress")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def main(arguments: Sequence[str]) -> int:
    """Build the dataset that the arguments ask for.

    Returns:
        The exit code: 0, or 2 for a mistake, which is told in one line on stderr.
    """
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(usage())
        return 0
    started = time.monotonic()
    try:
        settings = parse(arguments)
        own = {key: settings.pop(key) for key in _OWN if key in settings}
        out = str(own.pop("out"))
        name = str(own.pop("source"))
        if "seed" in setting_names(source_class(name)) and "seed" in own:
            settings["seed"] = own["seed"]  # one seed for what a source draws and for the sampling
        source = make_source(name, **settings)
        dataset = build(source, out, **{key: value for key, value in own.items() if value is not None})
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to go on from here", file=sys.stderr)
        return 130
    report(dataset, time.monotonic() - started)
    return 0


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` arguments as a dict, checked against the keys of the source.

    Raises:
        DataError: an argument without ``=``, a missing or unknown key.
    """
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise DataError(
                f"{argument!r} is not of the form key=value; for example source=kicad out=data/kicad"
            )
        if key in settings:
            raise DataError(f"{key} is given twice")
        settings[key] = text
    if not settings.get("source"):
        raise DataError(f"source=NAME is missing (known: {', '.join(sorted(SOURCES))})")
    own = setting_names(source_class(settings["source"]))
    keys = [*_OWN, *own]
    for key in settings:
        if key not in keys:
            raise DataError(f"unknown key {key!r}{did_you_mean(key, keys)} (keys: {', '.join(keys)})")
        if key not in ("source", "out"):
            settings[key] = _value(settings[key], own.get(key, ""))
    if not settings.get("out"):
        raise DataError("out=DIR is missing: the folder to write the dataset to")
    return settings


def usage() -> str:
    """What the command takes, with every source's settings."""
    lines = [
        "python -m align3d.build source=NAME out=DIR [points=2048] [seed=0] [workers=N] [progress=true]",
        "",
        "sources and their settings:",
    ]
    lines += [f"  {name}: {', '.join(setting_names(cls))}" for name, cls in sorted(SOURCES.items())]
    return "\n".join([*lines, "  package.module:Class: a source of your own"])


def report(dataset: ShapeDataset, seconds: float) -> None:
    """Print what was built, and what was left out, by reason."""
    table = Table(show_header=False, title=f"align3d {dataset.name}", title_justify="left")
    table.add_row("shapes", f"{len(dataset):,} of {dataset.num_points:,} points")
    table.add_row("captions", f"{sum(map(len, dataset.captions)):,}")
    table.add_row("categories", f"{len(set(dataset.categories)):,}")
    rejections = dataset.rejections
    kinds = Counter(rejection.reason.partition(":")[0] for rejection in rejections)
    reasons = "".join(f"\n{count:,} {reason}" for reason, count in kinds.most_common(5))
    more = f"\n... {len(kinds) - 5} more reasons in {dataset.path}/rejections.jsonl" if len(kinds) > 5 else ""
    table.add_row("rejected", f"{len(rejections):,}{reasons}{more}")
    table.add_row("seconds", f"{seconds:.1f}")
    table.add_row("hash", dataset.hash[:16])
    table.add_row("path", str(dataset.path))
    Console().print(table)


def _value(text: str, annotation: str) -> Any:
    """A number, true, false, none, or the text itself, which a setting that takes texts always gets."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if "str" in annotation:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
