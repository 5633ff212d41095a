"""Faults of the user, which end in one line and exit code 2 instead of a stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from align3d.errors import DataError


class UserError(ValueError):
    """What was asked for cannot be done. The message is one line: the value, what was expected, the fix."""


#: Everything that the command line turns into one line; all else keeps its traceback.
USER_ERRORS = (UserError, DataError)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean X?"`` when one of the choices is close, else nothing."""
    close = difflib.get_close_matches(word, sorted(choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""


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
