"""Session of one reviewer: the shapes of a sample, what was decided about them, and the next to look at."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np

from align3d.captions import normalize_caption
from align3d.dataset import ShapeDataset
from align3d.decisions import Action, Decision
from align3d.reviewing.review_log import ReviewLog, Subject, subject_of
from durable.plain_text import plain_text

REASONS = (
    "not what the captions say",
    "broken geometry",
    "several objects or a scene",
    "duplicate shape",
    "captions say nothing",
    "private or offensive",
    "license in doubt",
    "other",
)
"""Kinds of reasons for which a shape is rejected, with the keys 1 to 8."""
LONGEST_CAPTION, LONGEST_REASON = 2000, 500
_UNSAID = "in review"


class RefusedRequest(Exception):
    """A request that does not fit the session.

    Attributes:
        status: Number of HTTP's.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ReviewSession:
    """Shapes that a reviewer looks at, and their state; its methods may be called from several threads.

    Args:
        dataset: What is reviewed.
        log: The reviewer's decisions.
        rows: Rows of the shapes, in their order; a shape's place is its index in here.
        again: Whether shapes that the reviewer has decided about before count as undecided.
    """

    def __init__(self, dataset: ShapeDataset, log: ReviewLog, rows: Sequence[int], *, again: bool = False):
        self.dataset, self.log, self.rows = dataset, log, rows
        self.lock = Lock()
        self._place = {(dataset.ids[row], dataset.content_hashes[row]): at for at, row in enumerate(rows)}
        self._begun_at = len(log.decisions) if again else 0

    def overview(self) -> dict[str, Any]:
        """What the page shows besides the shape."""
        with self.lock:
            return {
                "dataset": self.dataset.name,
                "reviewer": self.log.author.partition(":")[2],
                "file": str(self.log.path),
                "reasons": REASONS,
                "longest_caption": LONGEST_CAPTION,
                "longest_reason": LONGEST_REASON,
                **self._progress(),
            }

    def shape(self, place: int) -> dict[str, Any]:
        """A shape's texts and their state.

        Raises:
            RefusedRequest: There is no such place.
        """
        row = self._row(place)
        with self.lock:
            return self._shape(place, row)

    def points(self, place: int) -> bytes:
        """A shape's points, z up: f32[P, 3], then its parts i16[P], then its colors u8[P, 3], little-endian.

        Raises:
            RefusedRequest: There is no such place.
        """
        row = self._row(place)
        up = "xyz".index(self.dataset.up_axis)
        points = self.dataset.points([row])[0][:, [(up + 1) % 3, (up + 2) % 3, up]]
        return b"".join(
            (
                points.astype("<f4").tobytes(),
                self.dataset.part([row])[0].astype("<i2").tobytes(),
                self.dataset.colors([row])[0].astype(np.uint8).tobytes(),
            )
        )

    def decide(
        self,
        place: int,
        item: str,
        action: str,
        seen: int,
        caption: str = "",
        text: str = "",
        reason: str = "",
    ) -> dict[str, Any]:
        """Write a decision down.

        Args:
            place: The shape's place.
            item: Its id, which must be the one that is there.
            action: An `Action`.
            seen: Number of decisions that the page knows of: another window may have made more.
            caption: The caption that it is about, as the dataset has it.
            text: What it becomes.
            reason: Why; for a rejection it begins with one of `REASONS`.

        Returns:
            The shape's state after it, and the progress.

        Raises:
            RefusedRequest: Something of it does not fit; nothing is written.
            NoSpaceError: The disk does not take it; nothing is written.
        """
        row = self._row(place)
        if self.dataset.ids[row] != item:
            raise RefusedRequest("no shape of this id is at this place; load the page anew", 404)
        checked = _checked_action(action)
        with self.lock:
            self._check_seen(seen)
            if checked in ("accept", "reject"):
                caption, text = "", ""
            else:
                if caption not in self.dataset.captions[row]:
                    raise RefusedRequest("the shape has no such caption; load the page anew", 404)
                text = self._checked_text(row, caption, text) if checked == "edit_caption" else ""
            content_hash = self.dataset.content_hashes[row]
            why = _checked_reason(checked, reason)
            self.log.append(Decision(item, checked, why, self.log.author, caption, text, content_hash))
            return {**self._progress(place), "shape": self._shape(place, row)}

    def undo(self, seen: int) -> dict[str, Any]:
        """Take the last decision back, whatever shape it was about.

        Returns:
            The progress and, if it was about a shape of the sample, that shape.

        Raises:
            RefusedRequest: There is nothing to undo in this session's file.
        """
        with self.lock:
            self._check_seen(seen)
            undone = self.log.undo()
            if undone is None:
                raise RefusedRequest("there is nothing to undo", 409)
            self._begun_at = min(self._begun_at, len(self.log.decisions))
            place = self._place.get((undone.item, undone.item_hash))
            shape = None if place is None else self._shape(place, self.rows[place])
            return {**self._progress(place), "undone": undone.action, "item": undone.item, "shape": shape}

    def _row(self, place: int) -> int:
        if not 0 <= place < len(self.rows):
            raise RefusedRequest("there is no such shape in this sample", 404)
        return self.rows[place]

    def _check_seen(self, seen: int) -> None:
        if seen != len(self.log.decisions):
            raise RefusedRequest("another window has decided since; the page shows it now", 409)

    def _progress(self, place: int | None = None) -> dict[str, Any]:
        """Counts, and the first undecided place behind ``place``, else the first of all; None at the end."""
        judged = {
            (one.item, one.item_hash)
            for one in self.log.decisions[self._begun_at :]
            if one.action in ("accept", "reject")
        }
        decided = {self._place[one] for one in judged if one in self._place}
        start = 0 if place is None else place + 1
        total = len(self.rows)
        order = (at % total for at in range(start, start + total))
        return {
            "seen": len(self.log.decisions),
            "total": total,
            "decided": len(decided),
            "next": next((at for at in order if at not in decided), None),
        }

    def _shape(self, place: int, row: int) -> dict[str, Any]:
        dataset, last = self.dataset, self._last()
        item, content_hash = dataset.ids[row], dataset.content_hashes[row]
        verdict = last.get((item, content_hash, ""))
        captions = []
        for caption in dataset.captions[row]:
            about = last.get((item, content_hash, normalize_caption(caption)))
            captions.append(
                {
                    "caption": caption,
                    "state": about.action.removesuffix("_caption") if about else "keep",
                    "text": about.text if about else "",
                }
            )
        return {
            "place": place,
            "item": item,
            "category": dataset.categories[row],
            "license": dataset.licenses[row],
            "size_m": [float(f"{extent:.3g}") for extent in dataset.size_m([row])[0]],
            "parts": dataset.part_names[row],
            "points": dataset.num_points,
            "captions": captions,
            "verdict": verdict.action if verdict else "",
            "reason": verdict.reason if verdict else "",
        }

    def _last(self) -> dict[Subject, Decision]:
        return {subject_of(one): one for one in self.log.decisions}

    def _checked_text(self, row: int, caption: str, text: str) -> str:
        try:
            text = " ".join(plain_text(text).split())
        except ValueError as error:
            raise RefusedRequest(str(error)) from error
        form = normalize_caption(text)
        if not form:
            raise RefusedRequest("a caption needs a letter or a digit; drop it instead")
        if len(text) > LONGEST_CAPTION:
            raise RefusedRequest(
                f"a caption of {len(text):,} characters, expected at most {LONGEST_CAPTION:,}"
            )
        item = (self.dataset.ids[row], self.dataset.content_hashes[row])
        last = self._last()
        others = [one for one in self.dataset.captions[row] if one != caption]
        forms = {normalize_caption(one) for one in others}
        for one in others:
            about = last.get((*item, normalize_caption(one)))
            forms |= {normalize_caption(about.text)} if about and about.action == "edit_caption" else set()
        if form in forms:
            raise RefusedRequest("another caption of the shape says the same; drop one of them")
        return text


def _checked_action(action: str) -> Action:
    for known in get_args(Action):
        if action == known:
            return known
    raise RefusedRequest(f"no such action: {action[:40]!r}")


def _checked_reason(action: Action, reason: str) -> str:
    reason = " ".join(reason.split())
    if len(reason) > LONGEST_REASON:
        raise RefusedRequest(f"a reason of {len(reason):,} characters, expected at most {LONGEST_REASON}")
    kinds: dict[Literal["accept", "drop_caption", "keep_caption", "edit_caption"], str] = {
        "accept": "accepted",
        "drop_caption": "dropped caption",
        "keep_caption": "kept caption",
        "edit_caption": "edited caption",
    }
    if action != "reject":
        return f"{kinds[action]}: {reason or _UNSAID}"
    kind, _, said = reason.partition(":")
    if kind not in REASONS:
        raise RefusedRequest(f"a rejection needs a reason, which begins with one of: {', '.join(REASONS)}")
    return f"{kind}: {said.strip() or _UNSAID}"
