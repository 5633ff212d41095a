"""Reviewers' decisions, a file of lines for each, in a folder beside the dataset that outlives its builds."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align3d.captions import normalize_caption
from align3d.console.terminal import say
from align3d.decisions import REVIEWER, Decision, line_of, parse_decisions
from align3d.errors import DataError
from durable.appended_lines import append_line, drop_last_line, mend_end, read_lines
from durable.file_lock import locked

_SUFFIX = ".jsonl"
_LONGEST_NAME = 64
_WEIGHT = {"keep_caption": 0, "accept": 0, "edit_caption": 1, "drop_caption": 2, "reject": 3}
"""Of two reviewers who decided differently about one thing, the word of greater weight counts."""

Subject = tuple[str, str, str]
"""What decisions are about: a shape's id, its content hash, and the normal form of a caption or nothing."""


def reviews_folder(out: Path) -> Path:
    """Folder of the reviewers' files of a dataset: ``OUT.reviews``, beside the folder that builds replace."""
    out = out.resolve()
    return out.with_name(f"{out.name}.reviews")


def checked_reviewer(name: str) -> str:
    """A reviewer's name in Unicode's normal form C, if a file can be called so.

    Raises:
        DataError: It is empty or too long, or holds anything but letters, digits, ``.``, ``_`` and ``-``.
    """
    name = unicodedata.normalize("NFC", name)
    plain = all(one.isalnum() or one in "._-" for one in name)
    if not name or not plain or not name[0].isalnum() or len(name.encode()) > _LONGEST_NAME:
        raise DataError(
            f"reviewer={name}: expected letters, digits, '.', '_' and '-', a letter or digit first, "
            f"at most {_LONGEST_NAME} bytes"
        )
    return name


def subject_of(decision: Decision) -> Subject:
    """What a decision is about."""
    return decision.item, decision.item_hash, normalize_caption(decision.caption)


class ReviewLog:
    """One reviewer's decisions: each is on the disk when `append` returns, and half a line never counts.

    Args:
        folder: Of the reviewers' files; see `reviews_folder`.
        reviewer: The reviewer's name; who writes holds its lock, see `open_log`.

    Attributes:
        path: The file.
        decisions: All of them, in the order in which they were made.

    Raises:
        DataError: The name is none for a file, or the file holds something else.
    """

    def __init__(self, folder: Path, reviewer: str) -> None:
        reviewer = checked_reviewer(reviewer)
        self.author = f"{REVIEWER}{reviewer}"
        self.path = folder / f"{reviewer}{_SUFFIX}"
        if cut := mend_end(self.path, _is_decision):
            say(f"{self.path}: half a line at its end is cut off ({len(cut)} bytes)", error=True)
        self.decisions = parse_decisions(read_lines(self.path)[0], self.path)

    def append(self, decision: Decision) -> None:
        """Add a decision.

        Raises:
            NoSpaceError: The disk does not take it; nothing has changed.
        """
        append_line(self.path, line_of(decision).rstrip("\n").encode())
        self.decisions.append(decision)

    def undo(self) -> Decision | None:
        """Take the last decision back; None where there is none."""
        if not self.decisions:
            return None
        drop_last_line(self.path)
        return self.decisions.pop()


@contextmanager
def open_log(folder: Path, reviewer: str) -> Iterator[ReviewLog]:
    """A reviewer's decisions, kept from other processes until the end of the body.

    Args:
        folder: Of the reviewers' files; it is made.
        reviewer: The reviewer's name.

    Raises:
        DataError: See `ReviewLog`.
        LockError: Another process has it open, or the file system knows no locks.
    """
    reviewer = checked_reviewer(reviewer)
    taken = f"{folder / reviewer}{_SUFFIX} is open in another review; end that, or choose another reviewer="
    with locked(folder / f".{reviewer}.lock", refuse=taken):
        yield ReviewLog(folder, reviewer)


def reviewers(out: Path) -> dict[str, list[Decision]]:
    """The decisions of all reviewers of a dataset, by their names.

    Half a line at the end of a file, which a reviewer who is at work or was killed has left, does not count.

    Raises:
        DataError: A file cannot be read, or holds something else; the line is named.
    """
    found = {}
    for path in sorted(reviews_folder(out).glob(f"[!.]*{_SUFFIX}")):
        try:
            lines, rest = read_lines(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        whole = [*lines, rest] if _is_decision(rest) else lines
        found[path.stem] = parse_decisions(whole, path)
    return found


def review_decisions(out: Path) -> list[Decision]:
    """What the reviewers of a dataset decided in the end, for a build to apply; empty where nobody has.

    Of several decisions of one reviewer about the same thing the last counts. Where two reviewers differ, a
    rejection counts and not an acceptance, and a caption is dropped rather than edited, and edited rather
    than kept; one line on stderr says how often that is so.

    Args:
        out: The dataset's folder, which need not be there.

    Raises:
        DataError: See `reviewers`.
    """
    last: dict[Subject, dict[str, Decision]] = {}
    for decisions in reviewers(out).values():
        for decision in decisions:
            last.setdefault(subject_of(decision), {})[decision.by] = decision
    differing = sum(len({(one.action, one.text) for one in by.values()}) > 1 for by in last.values())
    if differing:
        say(
            f"{reviews_folder(out)}: reviewers differ about {differing} shapes or captions, of which the "
            f"stricter word counts; python -m align3d.review {shlex.quote(f'dataset={out}')} agreement=true "
            "lists them",
            error=True,
        )
    return [max(by.values(), key=lambda one: (_WEIGHT[one.action], one.by)) for by in last.values()]


def _is_decision(line: bytes) -> bool:
    try:
        return bool(parse_decisions([line], Path()))
    except DataError:
        return False
