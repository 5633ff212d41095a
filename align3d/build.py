"""Command that builds a dataset: ``python -m align3d.build source=NAME out=DIR``."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.table import Table

from align3d.building.as_read import room_of
from align3d.building.judges import JudgeSettings, judgement_of
from align3d.building.plan import Part
from align3d.building.spreading import build_part
from align3d.building.stages import UPRIGHT, Stage
from align3d.captioning.caption_settings import LIMITS, PREFIX, CaptionerSettings
from align3d.captioning.captioner import captioner_of
from align3d.console.arguments import values_by
from align3d.console.command_frame import run_command
from align3d.console.declarations import declared, summary
from align3d.console.help_page import Section, page, setting_line, settings_of
from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.filters.filter_settings import filters_of, help_sections
from align3d.pipeline import build, default_cache
from align3d.sources import SOURCES, Source, make_source, source_class, takes_seed
from align3d.sources.joined import classes_of
from durable.disk_space import megabytes

EXAMPLE = "source=kicad size=500 out=data/kicad"


@dataclass(frozen=True)
class BuildSettings(JudgeSettings):
    """Settings that do not depend on the source.

    Attributes:
        source: Source of the shapes; several with commas are joined, and their settings have the source's
            name in front (kicad.size=500).
        out: Folder of the dataset. An older dataset there is replaced when the new one is complete, in one
            step; who has it open reads on in it.
        points: Points of a shape, P.
        seed: Seed of the sampling.
        engine: What the processes belong to: this machine (local), or Ray, here or at RAY_ADDRESS.
        workers: Processes that read; an item that crashes one is rejected by name. None: as many as cores
            may be used.
        progress: Say how far it is, with rate and time left, where it takes more than a few seconds.
        upright: Turn every shape until z is up, without mirroring it; joined sources always are.
        shard: Which part of how many to build, such as 3/64, into a folder of its own in out; python -m
            align3d.merge puts all of them together. None: all of it.
    """

    source: str = ""
    out: str = ""
    points: int = 2048
    seed: int = 0
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    progress: bool = True
    upright: bool = False
    shard: str | None = None


_EVERY, _JUDGES = declared(BuildSettings), declared(JudgeSettings)
OWN = {**{name: one for name, one in _EVERY.items() if name not in _JUDGES}, **_JUDGES}
CAPTIONER = {f"{PREFIX}{name}": setting for name, setting in declared(CaptionerSettings).items()}
"""Settings of captions beyond the source's."""
_ABOUT_PLACE = (
    *("out", "engine", "workers", "progress", "shard", *_JUDGES),
    *(f"{PREFIX}{name}" for name in LIMITS),
)
"""Settings that are not part of the command line in a datasheet, or come behind the others."""
_LOOSE = Annotated[int | float | bool | str, Field(union_mode="left_to_right")]
"""Kind of a setting of a source that does not say its type."""


def main(arguments: Sequence[str]) -> int:
    """Build the dataset that the arguments ask for.

    Returns:
        The exit code: 0, or 2 for a mistake, which is one line on stderr.
    """
    again = "interrupted; run the same command to go on from here"
    return run_command(arguments, usage, run, bare=True, interrupted=again)


def run(arguments: Sequence[str]) -> None:
    """Build the dataset or a part of it, and report it."""
    started = time.monotonic()
    filters, others = filters_of(arguments)
    settings = parse(others)
    own = {key: settings.pop(key) for key in OWN if key in settings}
    if takes_seed(own["source"]) and "seed" in own:
        settings["seed"] = own["seed"]  # one seed for what a source draws and for the sampling
    given = {key.removeprefix(PREFIX): settings.pop(key) for key in [*settings] if key.startswith(PREFIX)}
    source = make_source(own["source"], **settings)
    captioner = captioner_of(given or None, source, default_cache())
    asked = BuildSettings(**{**stored(source), **own})
    stages: list[Stage] = [UPRIGHT] if asked.upright else []
    stages += [captioner] if captioner else []
    accounted = captioner.accounted() if captioner else nullcontext()
    common: dict[str, Any] = {
        "points": asked.points,
        "seed": asked.seed,
        "engine": asked.engine,
        "workers": asked.workers,
        "progress": asked.progress,
        "stages": stages,
        "command": " ".join(["python -m align3d.build", *words_of(others, but=_ABOUT_PLACE)]),
    }
    if asked.shard is not None:
        part = Part.parse(asked.shard)
        if filters or asked.keep:
            raise UserError(
                f"shard={part}: filters= and keep= are about all of a dataset; give them to align3d.merge"
            )
        with accounted:
            place = build_part(source, asked.out, part, **common)
        merge = f"python -m align3d.merge {shlex.quote(f'parts={asked.out}')} out=DIR"
        say(f"part {part} is in {place}; {merge} puts all together")
        return
    judgement = judgement_of(Path(asked.out), asked, filters)
    common["command"] = " ".join([common["command"], *judge_words(arguments)])
    with accounted:
        dataset = build(source, asked.out, judgement=judgement, **common)
    report(dataset, time.monotonic() - started)


def words_of(arguments: Sequence[str], but: Collection[str] = ()) -> list[str]:
    """Arguments as they are typed into a shell, without some settings."""
    return [shlex.quote(one) for one in arguments if one.partition("=")[0] not in but]


def judge_words(arguments: Sequence[str]) -> list[str]:
    """Those of the arguments that say who decides about a dataset, as they are typed into a shell."""
    settings = ("filters", *declared(JudgeSettings))
    return words_of([one for one in arguments if one.partition("=")[0].partition(".")[0] in settings])


def stored(source: Source) -> dict[str, Any]:
    """Points and seed of what a source has stored, which count where the user asks for no others."""
    return dict(getattr(source, "stored", dict)())


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings of a command line, checked against those of the build and of the sources.

    Raises:
        UserError: A word that is no ``key=value``, a missing, repeated or unknown key, or a wrong value.
    """
    pairs = [argument.partition("=")[::2] for argument in arguments]
    given = dict(pairs)
    for key in given:
        if [name for name, _ in pairs].count(key) > 1:
            raise UserError(f"{key} is given twice")
    if not given.get("source"):
        raise UserError(f"source=NAME is missing (known: {', '.join(sorted(SOURCES))})")
    own = {name: one.kind for name, one in {**OWN, **CAPTIONER}.items()}
    hints = {**source_hints(given["source"]), **own}
    settings = values_by(hints, arguments, EXAMPLE.split()[-1])
    if not settings.get("out"):
        raise UserError("out=DIR is missing: the folder to write the dataset to")
    return settings


def source_hints(names: str) -> dict[str, Any]:
    """Types of the settings of a source; of several, also with the source's name in front."""
    if "," not in names:
        return _kinds(source_class(names), "")
    hints: dict[str, Any] = {}
    for name, cls in classes_of(names).items():
        hints = {**_kinds(cls, ""), **hints, **_kinds(cls, f"{name}.")}
    return hints


def _kinds(cls: type[Source], prefix: str) -> dict[str, Any]:
    return {prefix + name: _LOOSE if one.kind is Any else one.kind for name, one in declared(cls).items()}


def usage() -> str:
    """Help page, with every source's and every filter's settings."""
    sections = [Section("settings", [setting_line(one) for one in OWN.values()])]
    for name, cls in sorted(SOURCES.items()):
        title = f"source={name}: {summary(cls)}"
        sections.append(Section(title, settings_of(cls, but=OWN)))
    return page(
        "Builds a dataset of shapes and captions. What was cut off goes on with the same command.",
        [
            "python -m align3d.build source=NAME out=DIR [key=value ...]",
            "python -m align3d.build source=NAME,NAME out=DIR [NAME.key=value ...]",
        ],
        f"python -m align3d.build {EXAMPLE}",
        [
            *sections,
            Section("source=package.module:Class: a source of your own", []),
            Section(
                "captions beyond the source's (docs/captioning.md)", settings_of(CaptionerSettings, PREFIX)
            ),
            *help_sections(),
        ],
    )


def report(dataset: ShapeDataset, seconds: float) -> None:
    """Print what was built, and what was left out, by reason."""
    table = Table(show_header=False, title=f"align3d {dataset.name}", title_justify="left")
    table.add_row("shapes", f"{len(dataset):,} of {dataset.num_points:,} points")
    table.add_row("captions", f"{sum(map(len, dataset.captions)):,}")
    origins = Counter(origin for own in dataset.caption_origins for origin in own if origin)
    if len(origins) > 1:
        table.add_row("", "\n".join(f"{count:,} {origin}" for origin, count in origins.most_common()))
    table.add_row("categories", f"{len(set(dataset.categories)):,}")
    rejections = dataset.rejections
    kinds = Counter(rejection.reason.partition(":")[0] for rejection in rejections)
    reasons = "".join(f"\n{count:,} {reason}" for reason, count in kinds.most_common(5))
    more = f"\n... {len(kinds) - 5} more reasons in {dataset.rejections_file}" if len(kinds) > 5 else ""
    table.add_row("rejected", f"{len(rejections):,}{reasons}{more}")
    if losses := dataset.lost_colors:
        shown = "".join(f"\n{loss.item}: {loss.reason}" for loss in losses[:5])
        more = f"\n... {len(losses) - 5} more in {dataset.lost_colors_file}" if len(losses) > 5 else ""
        table.add_row("colors lost", f"{dataset.manifest.lost_colors:,}{shown}{more}")
    if notes := dataset.notes:
        shown = "".join(f"\n{note.item}: {note.reason}" for note in notes[:5])
        more = f"\n... {len(notes) - 5} more in {dataset.notes_file}" if len(notes) > 5 else ""
        table.add_row("notes", f"{len(notes):,}{shown}{more}")
    if decisions := dataset.decisions:
        authors = Counter(one.by for one in decisions)
        shown = "".join(f"\n{count:,} by {author}" for author, count in authors.most_common())
        table.add_row("decisions", f"{len(decisions):,}{shown}\nall in {dataset.decisions_file}")
    if (room := room_of(dataset.path)) is not None:
        table.add_row("as it was read", f"{room[0]}, {megabytes(room[1])} besides; may be removed")
    table.add_row("seconds", f"{seconds:.1f}")
    table.add_row("hash", dataset.hash[:16])
    table.add_row("path", str(dataset.path))
    Terminal().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
