"""Faults of the user, which end in one line and exit code 2 instead of a stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from align3d.errors import DataError

#: At 0.75 "nope" would be taken for "none"; "agnet" and "agent" have 0.8.
CLOSE = 0.8


class UserError(ValueError):
    """What was asked for cannot be done. The message is one line: the value, what was expected, the fix."""


#: Everything that the command line turns into one line; all else keeps its traceback.
USER_ERRORS = (UserError, DataError)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean X?"`` when one of the choices is close, else nothing."""
    close = closest(word, choices)
    return f"; did you mean {close}?" if close else ""


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that the word is a slip of the fingers from, if there is one.

    That is one with the same letters in another order, or with most of them in the same (difflib's ratio).
    """
    known = sorted(choices)
    swapped = (choice for choice in known if sorted(choice) == sorted(word))
    return next(swapped, None) or next(iter(difflib.get_close_matches(word, known, n=1, cutoff=CLOSE)), None)


@contextmanager
def settings_of(section: str) -> Iterator[None]:
    """Turns a ValueError of a constructor that is given the user's settings into a `UserError`.

    Args:
        section: the settings' section, put in front unless the message names it already.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    except ValueError as error:
        message = str(error)
        raise UserError(message if message.startswith(section) else f"{section}: {message}") from error
