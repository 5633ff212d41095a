"""Checks that a command's folders can be written to, made before anything slow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from align3d.errors import UserError


def writable_folder(setting: str, folder: Path) -> Path:
    """Makes a folder where there is none and tries to write into it; the folder.

    Args:
        setting: What the user gave, such as ``out=reports/x``; stands in the message.
        folder: Is made with its parents.

    Raises:
        UserError: It cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except FileExistsError as error:
        raise UserError(f"{setting}: a file is there; expected a folder, new or old") from error
    except OSError as error:
        raise UserError(f"{setting}: cannot be written to ({error.strerror}); name another folder") from error


def writable_file(setting: str, path: Path) -> Path:
    """Makes the folder of a file that is to be written, and leaves the file as it is; its path.

    Raises:
        UserError: There is a folder in its place, or it could not be written.
    """
    if path.is_dir():
        raise UserError(f"{setting}: a folder is there; expected a file, new or old")
    writable_folder(setting, path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"{setting}: the file that is there cannot be written to; name another")
    return path
