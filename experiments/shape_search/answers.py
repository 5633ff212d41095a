"""Answers of a search: what was found, how, and what it cost; as rows, as a table, as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from align3d.console.terminal import on_one_line

SCHEMA = 1
STAGES = {"encode": "encode", "ers": "ERS", "memory": "memory", "rerank": "re-rank"}
"""Stages of a search, and their names for people."""


@dataclass(frozen=True)
class Answer:
    """A shape that was found.

    Attributes:
        rank: From 1.
        score: Higher is better; of one search only, see `Answers.score`.
        id: Of the shape in its dataset.
        caption: Its first caption; empty where there is none.
        category: Its category; may be empty.
        file: Path of the file that it comes from; its id where there is none.
        row: Its row in the library.
    """

    rank: int
    score: float
    id: str
    caption: str
    category: str
    file: str
    row: int


@dataclass(frozen=True)
class FittingCaption:
    """A caption that fits a shape that was asked with.

    Attributes:
        rank: From 1.
        score: HAF's, a logit.
        caption: As it was first written.
    """

    rank: int
    score: float
    caption: str


@dataclass(frozen=True)
class Answers(Sequence[Answer]):
    """Answers to one query, best first.

    Attributes:
        query: The words, or the file of the shape that was asked with.
        score: What the scores are: ``HAF`` (logits) or ``cosine``.
        calibration: ``agent``, ``fixed`` or ``none``.
        calibrated: The same in words.
        where: Filter; empty without one.
        found: The shapes.
        captions: That fit a shape that was asked with.
        seconds: Spent by stage.
        library: Size of the library.
    """

    query: str
    score: str
    calibration: str
    calibrated: str
    where: str
    found: tuple[Answer, ...]
    library: int
    captions: tuple[FittingCaption, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, place: Any) -> Any:
        return self.found[place]

    def __str__(self) -> str:
        return "\n".join(lines_of(self))

    def as_json(self, sheet: Path | None = None) -> dict[str, Any]:
        """The answers as plain values, for programs."""
        plain = asdict(self)
        return {
            "schema": SCHEMA,
            **{
                name: plain[name]
                for name in ("query", "where", "score", "calibration", "calibrated", "library")
            },
            "answers": list(plain["found"]),
            "captions": list(plain["captions"]),
            "seconds": {name: round(spent, 6) for name, spent in self.seconds.items()},
            "sheet": None if sheet is None else str(sheet),
        }


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what is done within."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def lines_of(answers: Answers) -> list[str]:
    """The answers for people: each in two lines, then how they were found and what that took."""
    lines = []
    if answers.captions:
        lines.append("captions that fit:")
        lines += [f"{own.rank:>4}  {own.score:7.2f}  {on_one_line(own.caption)}" for own in answers.captions]
        lines.append("nearest shapes:")
    for own in answers:
        category = f"[{on_one_line(own.category)}] " if own.category else ""
        lines.append(f"{own.rank:>4}  {own.score:7.2f}  {on_one_line(own.caption or own.id)}")
        lines.append(f"{'':15}{category}{on_one_line(own.file)}")
    lines += [how_found(answers), timing(answers)]
    return lines


def how_found(answers: Answers) -> str:
    """One line on what was searched and under which calibration."""
    filtered = f" where {answers.where}" if answers.where else ""
    return (
        f"{len(answers)} of {answers.library:,} shapes{filtered}; scores: {answers.score}; "
        f"calibration: {answers.calibration} ({answers.calibrated})"
    )


def timing(answers: Answers) -> str:
    """One line on what each stage took."""
    parts = [f"{STAGES.get(name, name)} {1e3 * spent:.1f} ms" for name, spent in answers.seconds.items()]
    return f"{', '.join(parts)}; together {1e3 * sum(answers.seconds.values()):.1f} ms"
