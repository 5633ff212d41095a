"""The two ways in which data can be wrong: the request (the run stops), one item (it is listed, skipped)."""

from __future__ import annotations


class DataError(ValueError):
    """What was asked for cannot be done: a missing root, a wrong setting, a damaged dataset.

    The message is one line that names the value, what was expected and the likely fix; commands print it
    as it is and leave with exit code 2.
    """


class RejectedItem(Exception):
    """One item of a source cannot become a record; the build lists it with its reason and goes on.

    Attributes:
        reason: one line, in words a person can act on, such as ``"mesh without faces"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
