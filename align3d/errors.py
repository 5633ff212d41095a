"""Faults of the user, which end in one line and exit code 2 instead of a stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from durable.errors import DamagedFileError, UserError

CLOSE = 0.8
"""Least similarity of a word and the choice that it is a slip of.

At 0.75 "nope" would be taken for "none"; "agnet" and "agent" have 0.8."""


class DataError(UserError):
    """Request to a source or dataset that cannot be met: no root, a wrong setting, a damaged file."""


class DamagedDataset(DataError, DamagedFileError):
    """A dataset's files are not what its build wrote: one is cut, changed, or gone.

    Attributes:
        reason: What is damaged, with its path.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"damaged dataset: {reason}; build it again")
        self.reason = reason


class RejectedItem(Exception):
    """One item of a source cannot become a record; the build lists it with its reason and goes on.

    Attributes:
        reason: One line, in words a person can act on, such as ``"mesh without faces"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean X?"`` when one of the choices is close, else nothing."""
    close = closest(word, choices)
    return f"; did you mean {close}?" if close else ""


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Choice that a word is a slip of the fingers from, None where there is none.

    That is one with the same letters in another order, or with most of them in the same (difflib's ratio).
    """
    known = sorted(choices)
    swapped = (choice for choice in known if sorted(choice) == sorted(word))
    return next(swapped, None) or next(iter(difflib.get_close_matches(word, known, n=1, cutoff=CLOSE)), None)


@contextmanager
def settings_of(section: str) -> Iterator[None]:
    """Turn a ValueError of a constructor that is given the user's settings into a `UserError`.

    Args:
        section: Section of the settings, put in front unless the message names it already.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        message = str(error)
        raise UserError(message if message.startswith(section) else f"{section}: {message}") from error
