"""Faults that end in one line and exit code 2 instead of a stack trace."""

from __future__ import annotations


class UserError(ValueError):
    """Request of a user that cannot be met. The message is one line: value, expectation, fix."""


class DamagedFileError(UserError):
    """A file is not what was written: cut, changed, or gone. The message names it."""


class NoSpaceError(UserError):
    """The disk, a quota or a limit does not take a file. The message names path, reason and what is free."""


class LockError(UserError):
    """A lock cannot be had: another process holds it, or the file system knows none."""
