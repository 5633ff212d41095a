"""Decisions about a dataset's shapes and captions: what is left out or changed, why, and by whom.

Filters and reviewers write the same lines, so that everything that was decided can be read, counted and
undone. A reviewer's word stands above a filter's; of two lines of one author the later counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from align3d.captions import normalize_caption
from align3d.errors import DataError
from durable.whole_files import write_text

Action = Literal["reject", "accept", "drop_caption", "keep_caption", "edit_caption"]
REVIEWER = "reviewer:"
"""How the names of authors begin that are people."""


@dataclass(frozen=True)
class Decision:
    """One thing that was decided about a shape or one of its captions.

    Attributes:
        item: The shape's id.
        action: ``reject`` leaves the shape out, ``accept`` keeps it whatever filters say; ``drop_caption``,
            ``keep_caption`` and ``edit_caption`` do that to one caption.
        reason: Why, for people; begins with a kind and a colon (``"duplicate shape: of chair_7"``).
        by: Who decided: a filter's name, or ``reviewer:NAME``.
        caption: The caption that it is about, as the dataset had it; empty where it is the shape.
        text: What the caption becomes, for ``edit_caption``.
        item_hash: Content hash of the shape that was judged; empty where it does not matter. A decision about
            another shape that came to the same id does not count.
    """

    item: str
    action: Action
    reason: str
    by: str
    caption: str = ""
    text: str = ""
    item_hash: str = ""

    @property
    def is_human(self) -> bool:
        """Whether a person decided."""
        return self.by.startswith(REVIEWER)


@dataclass(frozen=True)
class Outcome:
    """What becomes of one shape.

    Attributes:
        rejected: The decision by which it is left out; None if it stays.
        captions: What is left of its captions, in their order.
        changes: Decisions that changed a caption.
    """

    rejected: Decision | None
    captions: tuple[str, ...]
    changes: tuple[Decision, ...]


def settle(item_hash: str, captions: Sequence[str], decisions: Iterable[Decision]) -> Outcome:
    """Apply decisions to one shape.

    Args:
        item_hash: Its content hash.
        captions: Its captions.
        decisions: Those about it, in the order in which they were made.

    What a caption was changed into is a caption too: who saw a dataset with that change, and changed
    it again, decided about its new form.

    A shape none of whose captions is left is rejected by the decision that took the last one.
    """
    counted = [one for one in decisions if one.item_hash in ("", item_hash)]
    counted.sort(key=lambda one: one.is_human)  # stable: people after filters, else in their order
    # A filter's acceptance is no veto over the others: only a person's is.
    whole = [one for one in counted if one.action == "reject" or (one.action == "accept" and one.is_human)]
    rejected = whole[-1] if whole and whole[-1].action == "reject" else None
    kept, changes = [], []
    for caption in captions:
        text, made = _became(caption, counted)
        changes += made
        if text is not None:
            kept.append(text)
    if not kept and rejected is None and changes:
        rejected = changes[-1]
    return Outcome(rejected, tuple(kept), tuple(changes))


def _became(caption: str, counted: Sequence[Decision]) -> tuple[str | None, list[Decision]]:
    """What is left of a caption, None if nothing is, and the decisions that made it so, in their order."""
    text, made, seen = caption, [], set[str]()
    while (form := normalize_caption(text)) not in seen:
        seen.add(form)
        about = [one for one in counted if one.caption and normalize_caption(one.caption) == form]
        about = [one for one in about if one.action != "keep_caption" or one.is_human]
        if not about or about[-1].action == "keep_caption":
            break
        made.append(about[-1])
        if about[-1].action == "drop_caption":
            return None, made
        text = about[-1].text
    return text, made


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write decisions as JSON lines, whole or not at all.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    write_text(path, "".join(line_of(one) for one in decisions))


def line_of(decision: Decision) -> str:
    """A decision as one line of JSON; fields that are empty are left out."""
    return json.dumps({k: v for k, v in asdict(decision).items() if v}, ensure_ascii=False) + "\n"


_LINE = TypeAdapter(Decision)


def read_decisions(path: Path) -> list[Decision]:
    """Decisions of a file of JSON lines.

    Raises:
        DataError: It cannot be read, or a line is no decision; the line is named by its number.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: expected a file of decisions in UTF-8 ({error})") from error
    return parse_decisions(lines, path)


def parse_decisions(lines: Iterable[bytes], path: Path) -> list[Decision]:
    """Decisions of lines of JSON in UTF-8; empty lines do not count.

    Args:
        lines: Without their ends.
        path: Of their file, for the message.

    Raises:
        DataError: A line is no decision; it is named by its number.
    """
    decisions = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                decisions.append(_LINE.validate_json(line, strict=True))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise DataError(f"{path}, line {number}: no decision ({place}: {first['msg']})") from error
    return decisions
