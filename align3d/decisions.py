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

    A shape none of whose captions is left is rejected by the decision that took the last one.
    """
    counted = [one for one in decisions if one.item_hash in ("", item_hash)]
    counted.sort(key=lambda one: one.is_human)  # stable: people after filters, else in their order
    # A filter's acceptance is no veto over the others: only a person's is.
    whole = [one for one in counted if one.action == "reject" or (one.action == "accept" and one.is_human)]
    rejected = whole[-1] if whole and whole[-1].action == "reject" else None
    kept, changes = [], []
    for caption in captions:
        form = normalize_caption(caption)
        about = [one for one in counted if one.caption and normalize_caption(one.caption) == form]
        about = [one for one in about if one.action != "keep_caption" or one.is_human]
        last = about[-1] if about else None
        if last is None or last.action == "keep_caption":
            kept.append(caption)
            continue
        changes.append(last)
        if last.action == "edit_caption":
            kept.append(last.text)
    if not kept and rejected is None and changes:
        rejected = changes[-1]
    return Outcome(rejected, tuple(kept), tuple(changes))


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
    decisions, number = [], 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    decisions.append(_LINE.validate_json(line, strict=True))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{path}, line {number}: no decision ({place}: {first['msg']})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a file of decisions in UTF-8 ({error})") from error
    return decisions
